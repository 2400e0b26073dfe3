"""Why not yet: the place in the queue, and the first thing that has to change."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from contracts.errors import NotFoundError
from runner.queue import Host, Share
from tests.runner.queue.world import NOON, World, cards, entry, wish

GIB = 2**30


@pytest.fixture(autouse=True)
def clock_of_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Noon of the tests is 15:06 UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def reason(world: World, job_id: str) -> str:
    return world.explain(job_id).reason


def test_positions_follow_the_order_of_the_moment() -> None:
    world = World(shares={("user", "ana"): Share(usage_gpu_s=9e9), ("project", "late"): Share(usage_gpu_s=1.0)})
    world.add(entry("a1", user="ana"), entry("a2", user="ana"), entry("b1", user="bob"), entry("urgent", user="ana", priority=3))
    world.add(entry("c1", user="cem", project="late"), entry("low", priority=-1))
    assert world.order(["a1", "a2", "b1", "c1", "low", "urgent"]) == ["urgent", "b1", "a1", "a2", "c1", "low"]


def test_owners_with_equal_use_are_ordered_by_age() -> None:
    world = World().add(*(entry(f"t{n}", user=f"u{n % 3}", submitted_at=NOON - n) for n in range(9)))
    assert world.order(f"t{n}" for n in range(9)) == [f"t{n}" for n in reversed(range(9))]


def test_missing_cards_are_named_with_who_has_them() -> None:
    world = World(cards(4), closed={"gpu1": "gpu1 foreign pid 4711 python", "gpu3": "gpu3 quarantined (Xid 79)"})
    assert (
        reason(world.add(entry("t1", gpu_count=4)), "t1") == "needs 4 GPUs, free 2; gpu1 foreign pid 4711 python; gpu3 quarantined (Xid 79)"
    )


def test_the_wish_is_part_of_the_reason() -> None:
    asked = wish(model="H200", pool="big", memory_bytes=80 * GIB)
    world = World(cards(1)).run("r1", "gpu0").add(entry("t1", gpu_count=1, wish=asked))
    assert reason(world, "t1") == "needs 1 GPU (model H200, pool big, at least 80 GiB each), free 0; gpu0 held by job r1"


def test_of_many_busy_cards_a_few_are_named() -> None:
    world = World(cards(64))
    for number in range(64):
        world.run(f"r{number}", f"gpu{number}")
    assert reason(world.add(entry("t1", gpu_count=1)), "t1").endswith("; gpu7 held by job r7; and 56 more")


@pytest.mark.parametrize(
    ("host", "asked", "expected"),
    [
        (Host(4.0, 9 * GIB, 9), {"cpu_count": 3.5}, "needs 3.5 processors, free 3 of 4"),
        (Host(1.0, 9 * GIB, 9), {"cpu_count": 1.0}, "needs 1 processor, free 0 of 1"),
        (Host(9.0, 8 * GIB, 9), {"memory_bytes": 7 * GIB + GIB // 2}, "needs 7.5 GiB of memory, free 7.0 GiB of 8.0 GiB"),
        (Host(9.0, 8 * GIB, 1), {}, "1 of 1 slots for jobs without GPUs are taken"),
    ],
)
def test_what_else_is_missing_is_named_with_how_much_there_is(host: Host, asked: dict[str, float], expected: str) -> None:
    world = World(host=host).run("r1", memory_bytes=GIB).add(entry("t1", **asked))
    assert reason(world, "t1") == expected


def test_everything_that_is_missing_is_named() -> None:
    world = World(cards(1), host=Host(2.0, 0, 9)).run("r1", "gpu0").add(entry("t1", gpu_count=1, cpu_count=2.0))
    assert reason(world, "t1") == "needs 1 GPU, free 0; gpu0 held by job r1; needs 2 processors, free 1 of 2"


def test_who_is_held_back_learns_for_whom() -> None:
    world = World(cards(8)).run("r1", "gpu0").add(entry("t123", gpu_count=8, submitted_at=NOON - 3900), entry("t1", gpu_count=1))
    assert reason(world, "t1") == "held back for job t123, which waits since 14:01 for 8 GPUs"


def test_a_known_end_of_the_hold_is_told() -> None:
    world = World(cards(8)).run("r1", "gpu0", ends_by=NOON + 3600).add(entry("t123", gpu_count=8), entry("t1", gpu_count=1))
    assert reason(world, "t1") == "held back for job t123, which waits since 15:06 for 8 GPUs and starts by 16:06"


@pytest.mark.parametrize(
    ("host", "runs", "asked", "wanted"),
    [
        (Host(8.0, GIB, 9), {"cpu_count": 4.0}, {"cpu_count": 6.0}, "6 processors"),
        (Host(8.0, GIB, 9), {"memory_bytes": 1}, {"memory_bytes": GIB}, "1.0 GiB of memory"),
    ],
)
def test_a_hold_for_something_else_says_for_what(host: Host, runs: dict[str, float], asked: dict[str, float], wanted: str) -> None:
    world = World(host=host).run("r1", **runs).add(entry("t0", submitted_at=NOON - 86_400, **asked), entry("t1", memory_bytes=1))
    assert reason(world, "t1") == f"held back for job t0, which waits since 2025-06-14 15:06 for {wanted}"


def test_a_reached_quota_is_named() -> None:
    world = World(cards(8), shares={("user", "ana"): Share(max_gpus=4)}).run("r1", "gpu0", "gpu1", "gpu2", user="ana")
    world.add(entry("t1", gpu_count=2))
    assert reason(world, "t1") == "user ana may hold 4 GPUs and holds 3; this job needs 2"
    world.run("r2", "gpu3", user="ana")
    assert reason(world, "t1") == "user ana may hold 4 GPUs and holds 4"


def test_a_reached_quota_of_jobs_is_named() -> None:
    world = World(shares={("project", "p"): Share(max_jobs=1)}).run("r1", project="p").add(entry("t1", project="p"))
    assert reason(world, "t1") == "project p may run 1 job and runs 1"


def test_a_job_that_is_tried_again_says_when() -> None:
    assert reason(World().add(entry("t1", not_before=NOON + 60)), "t1") == "tried again at 15:07"
    assert reason(World().add(entry("t1", not_before=NOON + 86_400)), "t1") == "tried again at 2025-06-16 15:06"


def test_a_job_that_is_just_not_first_says_how_many_are_before_it() -> None:
    world = World(cards(1)).add(*(entry(f"t{n}", gpu_count=1) for n in range(3)))
    assert [world.explain(f"t{n}").reason for n in range(3)] == ["is next", "1 job is before it", "2 jobs are before it"]
    assert [world.explain(f"t{n}").position for n in range(3)] == [1, 2, 3]


def test_a_wish_of_a_slice_or_a_shared_card_is_named() -> None:
    world = World().add(entry("t1", gpu_count=1, wish=wish(mig_profile="1g.18gb", shared_bytes=5)))
    assert re.fullmatch(r"needs 1 GPU \(MIG 1g.18gb, shared\), free 0", reason(world, "t1"))


def test_a_job_that_does_not_wait_has_no_explanation() -> None:
    with pytest.raises(NotFoundError, match="job t9 does not wait"):
        World().explain("t9")

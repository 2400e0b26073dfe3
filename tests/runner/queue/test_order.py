"""Who is next: priority, then the share of project and user, then age; and what bars a job for the moment."""

from __future__ import annotations

import pytest

from contracts.errors import NotFoundError
from runner.queue import Host, Share
from tests.runner.queue.world import NOON, Pooled, World, cards, entry, wish


def test_an_empty_queue_starts_nothing() -> None:
    decision = World(cards(4)).decide()
    assert (decision.starts, decision.holds, decision.head) == ((), (), None)


def test_jobs_of_one_owner_start_in_the_order_of_their_submission() -> None:
    world = World().add(entry("t2", submitted_at=NOON - 1), entry("t1", submitted_at=NOON - 2), entry("t3", submitted_at=NOON))
    assert world.started() == ["t1", "t2", "t3"]


def test_jobs_of_one_moment_start_in_the_order_of_their_ids() -> None:
    assert World().add(entry("t2", submitted_at=NOON), entry("t1", submitted_at=NOON)).started() == ["t1", "t2"]


def test_priority_goes_before_everything() -> None:
    world = World(shares={("user", "ana"): Share(usage_gpu_s=1e9)})
    world.add(entry("low", user="bob", priority=-1, submitted_at=NOON - 9), entry("normal", user="bob", submitted_at=NOON - 9))
    world.add(entry("high", user="ana", priority=1))
    assert world.started() == ["high", "normal", "low"]


def test_the_project_that_used_less_goes_before_the_user_that_used_less() -> None:
    world = World(shares={("project", "p"): Share(usage_gpu_s=100), ("user", "bob"): Share(usage_gpu_s=10_000)})
    world.add(entry("t1", project="p", user="ana"), entry("t2", project="q", user="bob"))
    assert world.started() == ["t2", "t1"]


def test_within_a_project_the_user_that_used_less_is_next() -> None:
    world = World(shares={("user", "ana"): Share(usage_gpu_s=10_000)})
    world.add(entry("t1", user="ana", submitted_at=NOON - 99), entry("t2", user="bob"))
    assert world.started() == ["t2", "t1"]


def test_use_counts_by_weight() -> None:
    world = World(shares={("user", "ana"): Share(weight=4, usage_gpu_s=30_000), ("user", "bob"): Share(usage_gpu_s=10_000)})
    assert world.add(entry("t1", user="ana"), entry("t2", user="bob")).started() == ["t1", "t2"]


def test_users_take_turns_within_one_decision() -> None:
    world = World(cards(6))
    world.add(*(entry(f"a{n}", user="ana", gpu_count=1, submitted_at=NOON - 100 + n) for n in range(5)))
    world.add(*(entry(f"b{n}", user="bob", gpu_count=1, submitted_at=NOON - 9 + n) for n in range(5)))
    assert world.started() == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_user_of_twice_the_weight_gets_twice_the_turns() -> None:
    world = World(cards(9), shares={("user", "ana"): Share(weight=2)})
    world.add(*(entry(f"{user}{n}", user=user, gpu_count=1) for user in ("ana", "bob") for n in range(9)))
    assert sorted(job_id[:3] for job_id in world.started()) == ["ana"] * 6 + ["bob"] * 3


def test_who_holds_cards_now_is_charged_for_them_before_they_are_used() -> None:
    world = World(cards(4)).run("r1", "gpu0", user="ana", project="default")
    assert world.add(entry("t1", user="ana", submitted_at=NOON - 9), entry("t2", user="bob")).started() == ["t2", "t1"]


def test_what_fits_starts_though_an_older_job_does_not() -> None:
    world = World(cards(2)).add(entry("wide", gpu_count=4), entry("one", gpu_count=1), entry("cpu"))
    assert world.started() == ["one", "cpu"]


def test_candidates_are_the_free_cards_of_the_wish() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}).run("r1", "gpu2")
    world.add(entry("t1", gpu_count=1, wish=wish(model="A100")), entry("t2", gpu_count=2))
    starts = [(start.job_id, start.gpu_count, start.candidates) for start in world.decide().starts]
    assert starts == [("t1", 1, ("gpu3",)), ("t2", 2, ("gpu0", "gpu1", "gpu3"))]


def test_a_job_is_not_started_on_cards_that_an_earlier_start_may_choose() -> None:
    world = World({**cards(1), **cards(1, "A100", first=1)})
    world.add(entry("t1", gpu_count=1), entry("t2", gpu_count=1, wish=wish(model="A100")))
    assert world.started() == ["t1"]


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        (Host(4.0, 100, 9), {"cpu_count": 2.0}),
        (Host(99.0, 100, 9), {"memory_bytes": 50}),
        (Host(99.0, 100, 2), {}),
    ],
)
def test_processors_memory_and_slots_are_given_out_once(host: Host, asked: dict[str, float]) -> None:
    assert World(host=host).add(*(entry(f"t{n}", **asked) for n in range(3))).started() == ["t0", "t1"]


def test_what_runs_is_counted_off() -> None:
    world = World(cards(2), host=Host(8.0, 100, 1)).run("r1", cpu_count=5.0)
    world.add(entry("no slot"), entry("too many processors", gpu_count=1, cpu_count=4.0), entry("fits", gpu_count=1, cpu_count=3.0))
    assert world.started() == ["fits"]


def test_parts_of_processors_add_up() -> None:
    assert len(World(host=Host(1.0, 0, 99)).add(*(entry(cpu_count=0.1) for _ in range(11))).started()) == 10


def test_a_host_with_fewer_resources_than_are_in_use_starts_nothing_that_needs_them() -> None:
    world = World(cards(1), host=Host(2.0, 0, 1)).run("r1", cpu_count=4.0).run("r2", cpu_count=4.0)
    assert world.add(entry("t1", gpu_count=1), entry("t2"), entry("free of charge", gpu_count=1, cpu_count=0.0)).started() == [
        "free of charge"
    ]


def test_nothing_starts_on_a_blocked_host() -> None:
    world = World(host=Host(8.0, 0, 8, blocked="the engine does not answer")).add(entry("t1"))
    assert world.started() == []
    assert world.explain("t1").reason == "the engine does not answer"


def test_a_job_that_is_tried_again_later_is_left_out_until_then_and_then_has_its_old_place() -> None:
    world = World(host=Host(1.0, 0, 9)).add(entry("again", submitted_at=NOON - 500, not_before=NOON + 60), entry("t1"))
    assert world.started() == ["t1"]
    world.now = NOON + 60
    assert world.started() == ["again"]


def test_a_job_over_quota_is_passed_over_and_holds_nobody() -> None:
    world = World(cards(4), shares={("user", "ana"): Share(max_gpus=2)}, now=NOON + 9999).run("r1", "gpu0", "gpu1", user="ana")
    world.add(entry("t1", user="ana", gpu_count=1), entry("t2", user="ana"), entry("t3", user="bob", gpu_count=2, submitted_at=NOON + 9))
    decision = world.decide()
    assert ({start.job_id for start in decision.starts}, decision.holds) == ({"t2", "t3"}, ())


def test_a_quota_of_gpus_lets_the_smaller_job_behind_through() -> None:
    world = World(cards(8), shares={("user", "ana"): Share(max_gpus=3)})
    assert world.add(entry("four", gpu_count=4), entry("two", gpu_count=2), entry("too", gpu_count=2)).started() == ["two"]


@pytest.mark.parametrize("owner", [("user", "ana"), ("project", "p")])
def test_a_quota_of_jobs_counts_what_runs_and_what_starts(owner: tuple[str, str]) -> None:
    world = World(shares={owner: Share(max_jobs=2)}).run("r1", user="ana", project="p")
    assert world.add(*(entry(f"t{n}", user="ana", project="p") for n in range(3))).started() == ["t0"]


def test_a_limit_ends_the_decision() -> None:
    world = World().add(entry("t1"), entry("t2"))
    assert [start.job_id for start in world.decide(limit=1).starts] == ["t1"]
    assert world.decide(limit=0).starts == ()


def test_the_same_id_again_replaces_the_job() -> None:
    world = World().add(entry("t1", priority=1), entry("t2"), entry("t1", priority=-1))
    assert (len(world.queue), world.started()) == (2, ["t2", "t1"])


def test_a_job_is_found_until_it_is_taken_out() -> None:
    world = World().add(entry("t1", user="eve"))
    assert world.queue.get("t1").user == "eve"
    world.queue.remove("t1")
    world.queue.remove("t1")
    assert ("t1" in world.queue, len(world.queue)) == (False, 0)
    with pytest.raises(NotFoundError, match="job t1 does not wait"):
        world.queue.get("t1")


def test_a_sleeping_job_can_be_taken_out() -> None:
    world = World().add(entry("t1", not_before=NOON + 60))
    world.queue.remove("t1")
    world.now = NOON + 120
    assert world.started() == []


def test_who_may_not_use_a_pool_waits_while_its_members_start() -> None:
    world = Pooled({**cards(1), **cards(1, "A100", first=1)}, members={"A100": ("bob",)})
    world.add(*(entry(f"{user}{n}", user=user, gpu_count=1, wish=wish(model="A100")) for user in ("ana", "bob") for n in range(2)))
    assert world.started() == ["bob0"]


def test_cards_of_two_models_are_not_given_to_one_job_where_the_offer_says_so() -> None:
    world = World({**cards(3), **cards(2, "A100", first=3)}, one_model=True).run("r1", "gpu0")
    world.add(entry("three", gpu_count=3), entry("two", gpu_count=2), entry("one", gpu_count=1))
    assert [(start.job_id, start.candidates) for start in world.decide().starts] == [("two", ("gpu3", "gpu4")), ("one", ("gpu1", "gpu2"))]
    assert world.explain("three").reason == "needs 3 GPUs of one model, free 2; gpu0 held by job r1"


def test_offers_are_asked_for_once_for_all_who_are_treated_alike() -> None:
    world = Pooled({**cards(2), **cards(1, "A100", first=2)}, members={"A100": ("u1",)})
    world.add(*(entry(user=f"u{n}", gpu_count=1) for n in range(20))).decide()
    assert world.asked == 2

"""What holds for every queue, whatever is in it: random hosts, jobs, shares and choices of cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.queue import Entry, Host, Queue, Running, Share, Start
from tests.runner.queue import naive
from tests.runner.queue.world import NOON, Pooled, World, cards, wish

USERS = ("ana", "bob", "cem")
PROJECTS = ("p", "q")
MODELS = {**cards(4), **cards(3, "A100", first=4)}
RUNTIMES = st.sampled_from([None, 60.0, 900.0, 7200.0])


@st.composite
def entries(draw: st.DrawFn, most: int = 25) -> list[Entry]:
    count = draw(st.integers(0, most))
    return [
        Entry(
            job_id=f"t{number:03}",
            user=draw(st.sampled_from(USERS)),
            project=draw(st.sampled_from(PROJECTS)),
            priority=draw(st.sampled_from([0, 0, 5])),
            submitted_at=NOON - draw(st.sampled_from([0.0, 1.0, 599.0, 600.0, 5000.0])),
            gpu_count=draw(st.sampled_from([0, 1, 1, 2, 3, 4, 7])),
            cpu_count=draw(st.sampled_from([0.5, 1.0, 4.0])),
            memory_bytes=draw(st.sampled_from([1, 4])),
            wish=draw(st.sampled_from(["", "", wish(model="H200"), wish(model="A100")])),
            kind="training",
            runtime_s=draw(RUNTIMES),
        )
        for number in range(count)
    ]


@st.composite
def running(draw: st.DrawFn) -> list[Running]:
    owners = draw(st.lists(st.integers(0, 9), min_size=len(MODELS), max_size=len(MODELS)))
    held = {job: tuple(uuid for uuid, owner in zip(MODELS, owners, strict=True) if owner == job) for job in range(6)}
    ends = st.sampled_from([None, NOON - 5, NOON + 60, NOON + 1800, NOON + 7200])
    return [
        Running(
            f"r{job}",
            draw(st.sampled_from(USERS)),
            draw(st.sampled_from(PROJECTS)),
            uuids,
            draw(st.sampled_from([0.5, 2.0])),
            1,
            draw(ends),
        )
        for job, uuids in held.items()
        if uuids or draw(st.booleans())
    ]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    limits = st.one_of(st.none(), st.integers(0, 6))
    share = st.builds(Share, st.sampled_from([0.5, 1.0, 2.0]), limits, limits, st.sampled_from([0.0, 100.0, 5000.0]))
    owners = st.sampled_from([*(("user", user) for user in USERS), *(("project", project) for project in PROJECTS)])
    return draw(st.sampled_from([World, Pooled]))(
        models=MODELS,
        running=draw(running()),
        shares=draw(st.dictionaries(owners, share, max_size=3)),
        closed=draw(st.dictionaries(st.sampled_from(list(MODELS)), st.just("closed"), max_size=2)),
        members=draw(st.sampled_from([{}, {"A100": ("ana",)}])),
        host=Host(
            cpu_count=draw(st.sampled_from([4.0, 8.0, 100.0])),
            memory_bytes=draw(st.sampled_from([8, 100])),
            job_slots=draw(st.integers(0, 4)),
        ),
        hold_after_s=draw(st.sampled_from([600.0, 0.0, float("inf")])),
        one_model=draw(st.booleans()),
    )


def chosen_cards(starts: Sequence[Start], data: st.DataObject) -> dict[str, tuple[str, ...]]:
    """Cards for each start in order, chosen as badly as hypothesis can."""
    taken: set[str] = set()
    chosen = {}
    for start in starts:
        left = sorted(set(start.candidates) - taken)
        assert len(left) >= start.gpu_count
        chosen[start.job_id] = tuple(data.draw(st.permutations(left)))[: start.gpu_count]
        taken.update(chosen[start.job_id])
    return chosen


@settings(deadline=None)
@given(worlds(), entries(), st.data())
def test_every_start_finds_free_cards_of_its_wish_whatever_the_earlier_ones_chose(
    world: World, waiting: list[Entry], data: st.DataObject
) -> None:
    by_id = {one.job_id: one for one in waiting}
    starts = world.add(*waiting).decide().starts
    for job_id, uuids in chosen_cards(starts, data).items():
        assert set(uuids) <= set(world.offer(by_id[job_id]).free)
        assert len(uuids) == by_id[job_id].gpu_count
        assert not world.one_model or len({MODELS[uuid] for uuid in uuids}) <= 1


@settings(deadline=None)
@given(worlds(), entries())
def test_never_more_starts_than_processors_memory_and_slots(world: World, waiting: list[Entry]) -> None:
    starts = {start.job_id for start in world.add(*waiting).decide().starts}
    started = [one for one in waiting if one.job_id in starts]
    running = world.running
    assert not started or sum(job.cpu_count for job in [*started, *running]) <= world.host.cpu_count
    assert not started or sum(job.memory_bytes for job in [*started, *running]) <= world.host.memory_bytes
    slots = sum(1 for one in started if not one.gpu_count), sum(1 for job in running if not job.gpu_uuids)
    assert not slots[0] or sum(slots) <= world.host.job_slots


@settings(deadline=None)
@given(worlds(), entries())
def test_no_start_exceeds_a_quota(world: World, waiting: list[Entry]) -> None:
    starts = {start.job_id for start in world.add(*waiting).decide().starts}
    gpus: Counter[tuple[str, str]] = Counter()
    jobs: Counter[tuple[str, str]] = Counter()
    for job in [*world.running, *(one for one in waiting if one.job_id in starts)]:
        for owner in (("user", job.user), ("project", job.project)):
            gpus[owner] += job.gpu_count if isinstance(job, Entry) else len(job.gpu_uuids)
            jobs[owner] += 1
    for one in waiting:
        for owner in {("user", one.user), ("project", one.project)} & world.shares.keys() if one.job_id in starts else ():
            share = world.shares[owner]
            assert share.max_jobs is None or jobs[owner] <= share.max_jobs
            assert share.max_gpus is None or not one.gpu_count or gpus[owner] <= share.max_gpus


@settings(deadline=None, max_examples=150)
@given(worlds(), entries())
def test_the_shortcuts_change_nothing(world: World, waiting: list[Entry]) -> None:
    assert world.add(*waiting).decide() == naive.decide(world, waiting)


@settings(deadline=None)
@given(worlds(), entries(), st.randoms(use_true_random=False))
def test_the_decision_depends_neither_on_the_order_of_adding_nor_on_what_was_asked_before(
    world: World, waiting: list[Entry], chance: object
) -> None:
    first = world.add(*waiting).decide()
    for one in waiting:
        world.explain(one.job_id)
    assert world.decide() == first
    world.queue = Queue(world.hold_after_s)
    chance.shuffle(shuffled := list(waiting))  # type: ignore[attr-defined]
    assert world.add(*shuffled).decide() == first


@settings(deadline=None)
@given(worlds(), entries(), st.sets(st.integers(0, 24)))
def test_jobs_that_were_taken_out_leave_nothing_behind(world: World, waiting: list[Entry], gone: set[int]) -> None:
    left = [one for number, one in enumerate(waiting) if number not in gone]
    expected = replace(world).add(*left).decide()
    world.add(*waiting)
    for number, one in enumerate(waiting):
        if number in gone:
            world.queue.remove(one.job_id)
    assert world.decide() == expected
    assert len(world.queue) == len(left)


@settings(deadline=None)
@given(worlds(), entries())
def test_without_holds_nothing_that_fits_is_left_waiting(world: World, waiting: list[Entry]) -> None:
    world.hold_after_s = float("inf")
    world.running = [replace(job, ends_by=None) for job in world.running]
    waiting = [replace(one, runtime_s=None) for one in waiting]
    world.queue = Queue(world.hold_after_s)
    decision = world.add(*waiting).decide()
    assert not decision.holds
    for start in decision.starts:
        world.queue.remove(start.job_id)
    if not decision.starts:
        reasons = [world.explain(one.job_id).reason for one in waiting]
        assert all("needs" in reason or "may" in reason or "slots" in reason for reason in reasons), reasons


@settings(deadline=None)
@given(worlds(), entries())
def test_positions_count_from_one_without_gaps_and_every_job_has_a_reason(world: World, waiting: list[Entry]) -> None:
    world.add(*waiting)
    explained = world.queue.explain_all([one.job_id for one in waiting], world.host, world.running, world, world.shares, world.now)
    assert sorted(one.position for one in explained.values()) == list(range(1, len(waiting) + 1))
    assert all(one.reason for one in explained.values())


@settings(deadline=None)
@given(worlds(), entries(), st.integers(0, 5))
def test_a_limited_decision_is_the_beginning_of_the_whole_one(world: World, waiting: list[Entry], limit: int) -> None:
    assert world.add(*waiting).decide(limit).starts == world.decide().starts[:limit]

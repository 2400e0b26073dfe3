"""Simulated days of 8 cards: nobody waits for ever, and the GPUs are shared as the weights say (acceptance cases A28 and A29)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.day import Job, SimulatedHost, wide_job_day
from runner.queue import Share

HOLD_MIN, LONGEST_MIN, DAY_MIN = 10, 15, 1440


def wait_of_wide(host: SimulatedHost) -> int:
    """Minutes that the wide job waited; a KeyError when it never started."""
    return {run.job.id: run.begin - run.job.minute for run in host.runs}["wide"]


@pytest.mark.parametrize("load", [0.4, 0.55, 0.7])
@pytest.mark.parametrize("promises", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_job_for_every_card_waits_for_the_hold_and_the_longest_job_at_most(load: float, promises: bool, seed: int) -> None:
    host = SimulatedHost(seed=seed)
    host.run(wide_job_day(load, seed, promises=promises), 240)
    assert wait_of_wide(host) <= HOLD_MIN + LONGEST_MIN


def test_without_a_hold_it_would_wait_for_hours() -> None:
    host = SimulatedHost(hold_after_s=float("inf"))
    host.run(wide_job_day(0.55, 1), 240)
    assert "wide" not in {run.job.id for run in host.runs}


def test_when_every_job_says_how_long_it_runs_backfill_keeps_more_cards_busy_than_a_hold() -> None:
    waited = {}
    for promises in (False, True):
        host = SimulatedHost(hold_after_s=0.0)
        host.run(wide_job_day(0.7, 2, promises=promises), DAY_MIN)
        waited[promises] = sum(run.begin - run.job.minute for run in host.runs)
    assert waited[True] < waited[False]


@settings(deadline=None, max_examples=10)
@given(
    st.lists(
        st.tuples(st.integers(1, 8), st.integers(1, 15), st.booleans(), st.sampled_from(["ana", "bob", "cem"])), min_size=50, max_size=120
    ),
    st.integers(0, 99),
)
def test_the_oldest_job_of_one_priority_never_waits_longer_than_all_before_it_and_the_hold(
    drawn: list[tuple[int, int, bool, str]], seed: int
) -> None:
    jobs = [
        Job(f"t{n:03}", n // 2, minutes, gpus=gpus, user=user, promised_minutes=minutes if promises else None)
        for n, (gpus, minutes, promises, user) in enumerate(drawn)
    ]
    host = SimulatedHost(seed=seed)
    host.run(jobs, minutes=60 + sum(HOLD_MIN + job.minutes for job in jobs))
    assert len(host.ended) == len(jobs)


def flood(user: str, count: int, minute: int, *, project: str = "default", seed: int = 0) -> list[Job]:
    chance = random.Random(seed)
    return [Job(f"{user}{n:05}", minute, chance.randint(5, 30), chance.choice((1, 1, 2)), user=user, project=project) for n in range(count)]


def test_a_user_who_floods_the_queue_gets_no_more_than_one_who_does_not() -> None:
    steady = [replace(job, minute=5 * (number // 2)) for number, job in enumerate(flood("bob", DAY_MIN // 5 * 2, 0, seed=3))]
    host = SimulatedHost()
    host.run(flood("ana", 2000, 0) + steady, DAY_MIN)
    used = host.gpu_minutes(DAY_MIN)
    assert used["ana"] == pytest.approx(used["bob"], rel=0.1)


@pytest.mark.parametrize(("owner", "other"), [(("user", "ana"), "default"), (("project", "p"), "q")])
def test_twice_the_weight_is_twice_the_gpu_time(owner: tuple[str, str], other: str) -> None:
    host = SimulatedHost(shares={owner: Share(weight=2.0)})
    mine = "default" if owner[0] == "user" else "p"
    host.run(flood("ana", 2000, 0, project=mine, seed=1) + flood("bob", 2000, 0, project=other, seed=2), DAY_MIN)
    used = host.gpu_minutes(DAY_MIN)
    assert used["ana"] / used["bob"] == pytest.approx(2.0, rel=0.1)


def test_a_project_of_many_users_gets_no_more_than_one_of_few() -> None:
    many = [replace(job, user=f"m{number % 10}") for number, job in enumerate(flood("many", 2000, 0, project="p", seed=1))]
    host = SimulatedHost()
    host.run(many + flood("bob", 2000, 0, project="q", seed=2), DAY_MIN)
    used = host.gpu_minutes(DAY_MIN)
    assert sum(used.values()) - used["bob"] == pytest.approx(used["bob"], rel=0.1)


def test_who_comes_late_to_a_busy_host_gets_cards_as_they_become_free() -> None:
    host = SimulatedHost()
    host.run(flood("ana", 2000, 0) + flood("bob", 1, 600), DAY_MIN)
    [bob] = [run for run in host.runs if run.job.user == "bob"]
    assert bob.begin - bob.job.minute <= 30


def test_jobs_without_gpus_are_shared_too() -> None:
    jobs = [
        Job(f"{user}{n:05}", minute, 10, gpus=0, cpus=1.0, user=user) for user, minute in (("ana", 0), ("bob", 60)) for n in range(1000)
    ]
    host = SimulatedHost(gpu_count=0, cpu_count=4.0, job_slots=4)
    host.run(sorted(jobs, key=lambda job: job.minute), DAY_MIN)
    minutes = {user: sum(run.job.minutes for run in host.ended if run.job.user == user and run.begin >= 300) for user in ("ana", "bob")}
    assert minutes["ana"] == pytest.approx(minutes["bob"], rel=0.2)

"""A27: a container of ours that runs on cards without a lease, as after a restore of the database, gets its lease again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import NoGpuError
from contracts.job import GpuWish
from registry.leases import LeaseState
from tests.runner.gpus.world import GIB, container_of

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

JOB, OTHER = "t0000001", "t0000002"
SHARE = GpuWish(pool="labs", shared_bytes=10 * GIB)


@pytest.fixture
def orphan(host: Host) -> Host:
    """A job that runs on cards 0 and 1, of which the database knows no lease."""
    host.add_job(JOB, container_id=container_of(JOB))
    host.start(JOB, 2, pid=101)
    host.forget_lease(JOB)
    assert host.states() == ["orphan", "orphan", "free", "free"]
    return host


def test_the_lease_is_as_it_was_and_ends_as_any(orphan: Host) -> None:
    assert orphan.pool.adopt(JOB, 1, container_of(JOB)) == ("GPU-0", "GPU-1")
    lease = orphan.lease_of(JOB)
    assert (lease.state, lease.container_id, lease.shared_bytes) == (LeaseState.ACTIVE, container_of(JOB), None)
    assert orphan.states() == ["leased", "leased", "free", "free"]
    assert [(event["uuid"], event["job"]) for event in orphan.events("adopted")] == [("GPU-0", JOB), ("GPU-1", JOB)]
    orphan.exit(JOB, 101)
    assert orphan.pool.release(JOB, 1)
    assert orphan.states() == ["free"] * 4


def test_it_may_be_repeated_and_gives_nothing_where_nothing_runs(orphan: Host) -> None:
    orphan.add_job(OTHER)
    for _ in range(2):
        orphan.pool.adopt(JOB, 1)
    assert len(orphan.events("adopted")) == 2
    assert orphan.pool.adopt(OTHER, 1) == ()
    assert orphan.pool.adopt(JOB, 2) == ()


def test_an_attempt_that_runs_already_is_leased_its_own_cards_and_no_others(orphan: Host) -> None:
    """The backup is from before the job was admitted, so that the scheduler admits it again."""
    assert orphan.pool.lease(JOB, 1, 2) == ("GPU-0", "GPU-1")
    with orphan.pool.confirm_start(JOB, 1, container_of(JOB)):
        pass
    assert orphan.lease_of(JOB).container_id == container_of(JOB)


def test_a_runner_that_was_about_to_start_it_carries_on(orphan: Host) -> None:
    with orphan.pool.confirm_start(JOB, 1, container_of(JOB)):
        pass
    assert orphan.lease_of(JOB).uuids == ("GPU-0", "GPU-1")


def test_cards_that_another_job_holds_are_not_taken_from_it(orphan: Host) -> None:
    orphan.take_back(f"sluice-{JOB}-1")
    orphan.put("GPU-0")
    orphan.start(OTHER, 1)
    orphan.give(f"sluice-{JOB}-1", "GPU-0", "GPU-1")
    with pytest.raises(NoGpuError, match=f"GPU-0 by job {OTHER}"):
        orphan.pool.adopt(JOB, 1)
    assert orphan.card("GPU-0")["reason"] == f"the container sluice-{JOB}-1 of job {JOB} has the card without a lease"
    assert orphan.lease_of(OTHER).uuids == ("GPU-0",)


def test_a_card_that_was_lost_meanwhile_is_leased_too_so_that_the_job_is_told(orphan: Host) -> None:
    orphan.look()
    orphan.cards = orphan.cards[1:]
    orphan.write()
    assert orphan.pool.adopt(JOB, 1) == ("GPU-0", "GPU-1")
    (found,) = orphan.look(JOB)
    assert found.job_id == JOB


def test_a_share_is_a_share_again(host: Host) -> None:
    host.pool.put_pool("labs", slots=2)
    host.pool.assign("GPU-2", "labs")
    for job_id in (JOB, OTHER):
        host.add_job(job_id, container_id=container_of(job_id))
        host.start(job_id, 1, wish=SHARE)
    host.put("GPU-2", {**host.run(101, container_of(JOB)), "used_bytes": 75 * GIB})
    host.forget_lease(JOB)
    assert host.pool.adopt(JOB, 1, container_of(JOB), SHARE) == ("GPU-2",)
    assert host.lease_of(JOB).shared_bytes == 10 * GIB
    assert host.card("GPU-2")["jobs"] == [OTHER, JOB]

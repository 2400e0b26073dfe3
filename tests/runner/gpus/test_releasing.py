"""A job's cards are given to others when nothing of it is left on them, and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from contracts.errors import EngineGoneError, NoGpuError
from contracts.gpu import Gpu, GpuProcess, Snapshot
from registry import leases
from registry.leases import LeaseRecord, LeaseState
from runner.gpus.books import Books
from runner.gpus.releasing import STUCK_AFTER_S, Verdict, verdict
from tests.runner.gpus.world import container_of

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

GIB = 1024**3
JOB = "t0000001"
LEASE = LeaseRecord(1, "h", JOB, 1, ("GPU-0",), LeaseState.RELEASING, "", datetime.now(timezone.utc), container_id=container_of(JOB))


def test_a_job_that_left_nothing_gives_its_cards_back_at_once(host: Host) -> None:
    host.start(JOB, pid=101)
    host.exit(JOB, 101)
    assert host.pool.release(JOB, 1, note="done")
    assert (host.lease_of(JOB).state, host.lease_of(JOB).note) == (LeaseState.RELEASED, "done")


def test_a_job_that_never_started_gives_its_cards_back_whatever_is_on_them(host: Host) -> None:
    host.pool.lease(JOB, 1, 1)
    host.set_card(0, used_bytes=8 * GIB)
    host.engine_away = True
    assert host.pool.release(JOB, 1)


def test_memory_that_stays_keeps_the_card_until_it_is_gone(host: Host) -> None:
    """A6: the process is gone, its memory is not."""
    host.start(JOB, pid=101)
    host.exit(JOB, 101)
    host.set_card(0, used_bytes=8 * GIB)
    assert not host.pool.release(JOB, 1)
    assert host.states()[0] == "leased"
    with pytest.raises(NoGpuError):
        host.pool.lease("t0000002", 1, 4)
    host.set_card(0)
    assert host.pool.settle() == [JOB]
    assert len(host.pool.lease("t0000002", 1, 4)) == 4


def test_memory_of_nobody_on_a_free_card_keeps_it_from_jobs_until_it_is_gone(host: Host) -> None:
    """A6: a host process was killed and its memory stays."""
    host.set_card(3, used_bytes=8 * GIB)
    assert host.states()[3] == "zombie"
    assert "GPU-3" not in host.pool.lease(JOB, 1, 3)
    host.set_card(3)
    assert host.pool.lease("t0000002", 1, 1) == ("GPU-3",)


def test_a_process_that_stays_makes_the_card_stuck_after_a_minute(host: Host) -> None:
    """A32."""
    host.start(JOB, pid=101)
    host.claims = {}
    assert not host.pool.release(JOB, 1)
    host.later_s = STUCK_AFTER_S - 5
    assert host.pool.settle() == []
    assert host.states()[0] == "leased"
    host.later_s = STUCK_AFTER_S + 5
    assert host.pool.settle() == []
    assert (host.card("GPU-0")["state"], host.card("GPU-0")["job"]) == ("stuck", JOB)
    assert host.card("GPU-0")["reason"].startswith("memory left: 1.0 GiB, pid 101 python 101 after job t0000001")
    assert "GPU-0" not in host.pool.lease("t0000002", 1, 3)


def test_a_stuck_card_is_given_back_as_soon_as_it_is_idle(host: Host) -> None:
    """A32: it heals by itself."""
    host.start(JOB, pid=101)
    host.claims = {}
    host.pool.release(JOB, 1)
    host.later_s = 100
    host.pool.settle()
    host.end(101)
    host.put("GPU-0")
    assert host.pool.settle() == [JOB]
    assert host.states() == ["free"] * 4


def test_what_is_gone_is_given_back_by_whoever_reads_the_books_next(host: Host) -> None:
    """Without a service nobody settles."""
    host.start(JOB, pid=101)
    host.claims = {}
    host.pool.release(JOB, 1)
    host.exit(JOB, 101)
    host.put("GPU-0")
    assert host.new_pool().lease("t0000002", 1, 1) == ("GPU-0",)


def test_a_release_that_cannot_be_looked_at_is_come_back_to(host: Host) -> None:
    host.start(JOB)
    host.claims = {}
    host.engine_away = True
    assert not host.pool.release(JOB, 1)
    host.engine_away = False
    world, host.cards = host.cards, [{"nonsense": True}]
    host.write()
    assert not host.pool.release(JOB, 1)
    host.cards = world
    host.write()
    assert host.pool.release(JOB, 1)


def test_an_attempt_whose_cards_are_not_given_back_cannot_lease_again(host: Host) -> None:
    host.start(JOB, pid=101)
    host.pool.release(JOB, 1)
    with pytest.raises(NoGpuError, match="not gone yet"):
        host.pool.lease(JOB, 1, 1)


def on(*pids: int, container: str | None = None) -> dict[str, Any]:
    return {"processes": tuple(GpuProcess(pid, GIB, "python") for pid in pids), "used_bytes": 4 * GIB}


@pytest.mark.parametrize(
    ("gpu", "values", "expected"),
    [
        ({}, {}, ""),
        ({"used_bytes": 4 * GIB}, {}, "4.0 GiB are still in use"),
        ({"used_bytes": 4 * GIB, "processes": None}, {}, "4.0 GiB are still in use"),
        (on(1), {}, "pid 1 python is still on"),
        (on(2), {}, ""),
        (on(3), {}, ""),
        (on(1, 2), {}, "pid 1 python is still on"),
        (on(1), {"error": "fell off", "error_code": "lost"}, ""),
        ({}, {"claims": {"GPU-0": (f"sluice-{JOB}-1", "web")}}, "its container sluice-t0000001-1 still runs"),
        ({}, {"engine_error": "no answer"}, "whether its container has ended cannot be seen: no answer"),
    ],
)
def test_what_is_left_of_a_job(gpu: dict[str, Any], values: dict[str, Any], expected: str, host: Host) -> None:
    """Process 1 is the job's, 2 another container's, 3 the host's: what those use is not the job's to give back."""
    for pid, container in ((1, container_of(JOB)), (2, "cd" * 32), (3, None)):
        host.run(pid, container)
    broken = {name: values.pop(name) for name in ("error", "error_code") if name in values}
    own = {container_of(JOB): (JOB, 1)}
    books = Books("h", Snapshot((Gpu("GPU-0", 0, **gpu, **broken),)), leases=(LEASE,), own=own, proc=host.folder / "proc", **values)
    decision, left = verdict(LEASE, books, 10)
    assert left.startswith(expected)
    assert decision is (Verdict.WAIT if expected else Verdict.RELEASE)


def test_of_a_card_that_is_shared_only_the_jobs_own_processes_count(host: Host) -> None:
    host.run(2, container_of("t0000002"))
    other = replace(LEASE, id=2, job_id="t0000002", shared_bytes=GIB, container_id=container_of("t0000002"))
    gpu, own = Gpu("GPU-0", 0, **on(2)), {container_of("t0000002"): ("t0000002", 1)}
    books = Books("h", Snapshot((gpu,)), leases=(replace(LEASE, shared_bytes=GIB), other), own=own, proc=host.folder / "proc")
    assert verdict(LEASE, books, 0)[0] is Verdict.RELEASE
    assert verdict(other, books, 0)[0] is Verdict.WAIT


def test_a_job_without_an_engines_container_waits_for_the_processes_where_the_runner_is(host: Host) -> None:
    host.run(3)
    books = Books("h", Snapshot((Gpu("GPU-0", 0, **on(3)),)), leases=(LEASE,), proc=host.folder / "proc")
    assert verdict(replace(LEASE, container_id="4711"), books, 0)[0] is Verdict.WAIT


# ------------------------------------------------------------------------------------------------- what killed runners left


def test_the_lease_of_a_job_that_ended_is_reclaimed_and_that_of_another_stays(host: Host) -> None:
    host.start(JOB)
    host.start("t0000002")
    host.exit(JOB)
    assert host.pool.reclaim(lambda job_id, attempt: (job_id, attempt) != (JOB, 1)) == [JOB]
    assert host.states() == ["free", "leased", "free", "free"]
    assert host.lease_of(JOB).note == "the job had ended"


def test_a_lease_whose_container_still_runs_is_not_reclaimed(host: Host) -> None:
    host.start(JOB)
    assert host.pool.reclaim(lambda job_id, attempt: False) == []
    assert host.states()[0] == "leased"


def test_a_silent_engine_does_not_mean_that_containers_are_gone(host: Host) -> None:
    host.start(JOB)
    host.engine_away = True
    with pytest.raises(EngineGoneError):
        host.pool.reclaim(lambda job_id, attempt: False)
    assert host.lease_of(JOB).state is LeaseState.ACTIVE


def test_after_a_reboot_every_former_lease_is_finished_as_such(host: Host) -> None:
    """A31: no process survived it, whatever the jobs and the engine say."""
    host.start(JOB, 2)
    host.claims = {}
    host.boot = "boot 2"
    host.write()
    host.pool.lease("t0000002", 1, 1)
    assert host.pool.reclaim(lambda job_id, attempt: True) == [JOB]
    assert host.lease_of(JOB).note == "the host was rebooted"
    assert host.states() == ["free", "free", "leased", "free"]


def test_a_lease_of_another_host_is_not_reclaimed_here(host: Host) -> None:
    with host.database.writing() as session:
        leases.take(session, "elsewhere", JOB, 1, ["GPU-0"], boot_id="another")
    assert host.pool.reclaim(lambda job_id, attempt: False) == []

"""The scheduler's view of who waits: what this process queued, what others did, and what was admitted already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.image import Kind
from registry import jobs, queued
from registry.queued import QueuedJob
from runner import scheduler as scheduler_module
from runner.installation import Installation
from runner.scheduler import Scheduler
from runner.settings import load_settings


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    settings = replace(load_settings({"home": str(tmp_path)}, {}), engine="process", disk_floor_bytes=0, job_slots=50)
    installation = Installation(settings)
    yield installation
    installation.close()


@pytest.fixture
def scheduler(installation: Installation) -> Iterator[Scheduler]:
    scheduler = Scheduler(installation)
    assert scheduler.hold()
    scheduler.tick()  # the first look into the database
    yield scheduler
    scheduler.close()


@pytest.fixture
def queue_job(installation: Installation) -> Callable[[str], QueuedJob]:
    """Writes a job into the database, as any process may."""

    def write(job_id: str) -> QueuedJob:
        with installation.database.writing() as session:
            jobs.add_job(
                session, id=job_id, kind=Kind.TRAINING, spec={}, plan={}, image_name="i", image_reference="i:1", image_digest="d",
                engine="process", run_dir=f"runs/{job_id}",
            )  # fmt: skip
            return next(job for job in queued.list_waiting(session) if job.id == job_id)

    return write


def test_a_job_that_this_process_queued_is_admitted_without_a_look(
    scheduler: Scheduler, queue_job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "_LOOK_EVERY_S", 3600.0)
    job, unseen = queue_job("t1"), queue_job("t2")
    scheduler.submitted(job)
    assert scheduler.tick() == ["t1"]
    assert scheduler.explain([unseen.id]) == {}


def test_who_submits_waits_for_no_tick(scheduler: Scheduler, queue_job: Callable) -> None:
    job = queue_job("t1")
    with scheduler._lock:
        submitting = threading.Thread(target=scheduler.submitted, args=[job])
        submitting.start()
        submitting.join(20)
        assert not submitting.is_alive()
    assert scheduler.tick() == ["t1"]


def test_a_job_that_was_admitted_before_its_submit_was_told_is_not_admitted_again(
    scheduler: Scheduler, queue_job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue_job("t1")
    monkeypatch.setattr(scheduler_module, "_LOOK_EVERY_S", 0.0)
    assert scheduler.tick() == ["t1"]
    scheduler.submitted(job)
    scheduler._line_up()
    assert job.id not in scheduler._queue


def test_a_job_that_was_cancelled_at_once_does_not_wait(scheduler: Scheduler, queue_job: Callable) -> None:
    scheduler.submitted(queue_job("t1"))
    scheduler.forget("t1")
    assert scheduler.tick() == []


def test_in_a_long_queue_only_new_jobs_are_read(
    installation: Installation, scheduler: Scheduler, queue_job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LOOK_EVERY_S", "_READ_ALL_UP_TO"):
        monkeypatch.setattr(scheduler_module, name, 0)
    scheduler._engine_silent = lambda: "the engine is away"
    scheduler.submitted(queue_job("t1"))
    queue_job("t2")
    assert scheduler.tick() == []
    assert set(scheduler.explain(["t1", "t2"])) == {"t1", "t2"}
    scheduler._engine_silent = lambda: ""
    assert scheduler.tick() == ["t1", "t2"]

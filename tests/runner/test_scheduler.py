"""The scheduler's view of who waits: what this process queued, what others did, and what was admitted already."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.image import Kind
from registry import jobs, leases, queued
from registry.queued import QueuedJob
from runner import scheduler as scheduler_module
from runner.installation import Installation
from runner.scheduler import Scheduler
from runner.settings import load_settings


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    settings = replace(load_settings({"home": str(tmp_path)}, {}), engine="process", gpus="fake", disk_floor_bytes=0, job_slots=50)
    settings = replace(settings, gpu_lock=str(tmp_path / "gpu.lock"))
    installation = Installation(settings)
    yield installation
    installation.close()


@pytest.fixture
def fake_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cards.json"
    file.write_text(json.dumps([{"uuid": "GPU-a"}, {"uuid": "GPU-b"}]), encoding="utf-8")
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))


@pytest.fixture
def scheduler(installation: Installation) -> Iterator[Scheduler]:
    scheduler = Scheduler(installation)
    assert scheduler.hold()
    scheduler.tick()  # the first look into the database
    yield scheduler
    scheduler.close()


@pytest.fixture
def queue_job(installation: Installation) -> Callable[..., QueuedJob]:
    """Writes a job into the database, as any process may."""

    def write(job_id: str, gpu_count: int = 0) -> QueuedJob:
        with installation.database.writing() as session:
            jobs.add_job(
                session, id=job_id, kind=Kind.TRAINING, spec={}, plan={}, image_name="i", image_reference="i:1", image_digest="d",
                engine="process", run_dir=f"runs/{job_id}", gpu_count=gpu_count,
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


def test_a_job_that_is_lined_up_once_more_after_its_admission_keeps_its_cards(
    installation: Installation, scheduler: Scheduler, queue_job: Callable, fake_cards: None
) -> None:
    job = queue_job("t1", gpu_count=1)
    scheduler.submitted(job)
    assert scheduler.tick() == ["t1"]
    scheduler._add(job)  # as by a thread that stalled between its commit and telling the scheduler
    assert scheduler.tick() == []
    with installation.database.reading() as session:
        (lease,) = leases.list_open(session, installation.host)
        assert (lease.job_id, jobs.get_job(session, "t1").gpu_uuids) == ("t1", lease.uuids)


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

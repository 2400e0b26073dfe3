"""Many jobs are taken up at once: each by one driver, and none that is another process's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.image import Kind
from registry import jobs
from runner.drivers import Driver, Drivers
from runner.installation import Installation
from runner.settings import load_settings

WAITING = ("t1", "t2")  # not admitted: a driver stops as soon as it has seen that
ROW = {"image_name": "probe", "image_reference": "probe:1", "image_digest": "sha256:probe", "engine": "process"}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    opened = Installation(load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"}))
    with opened.database.writing() as session:
        for job_id in WAITING:
            jobs.add_job(session, id=job_id, kind=Kind.TRAINING, spec={}, plan={}, run_dir=f"runs/{job_id}", **ROW)  # type: ignore[arg-type]
    yield opened
    opened.close()


def is_free(installation: Installation, drivers: Drivers) -> bool:
    return not drivers.driven() and not any(installation.run_dir(job_id).is_driven() for job_id in WAITING)


def test_adopted_jobs_have_a_driver_each_which_lets_go_of_the_job_when_it_stops(installation: Installation) -> None:
    ended: list[str] = []
    drivers = Drivers(installation, None, ended.append)
    assert drivers.adopt([*WAITING, "unknown"]) == 2
    end = time.monotonic() + 10.0
    while len(ended) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert sorted(ended) == list(WAITING)
    assert is_free(installation, drivers)


def test_a_job_that_another_process_drives_is_left_to_it(installation: Installation) -> None:
    drivers = Drivers(installation, None)
    with installation.run_dir("t1").driving():
        assert drivers.adopt(["t1"]) == 0
        assert not drivers.driven()


def test_a_run_directory_that_cannot_be_used_keeps_no_other_job_waiting(installation: Installation) -> None:
    (installation.home / "runs" / "t1").write_text("a file where the folder belongs")
    assert Drivers(installation, None).adopt(WAITING) == 1


def test_when_no_thread_can_be_started_the_jobs_are_free_for_the_next_try(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_driver: Driver) -> None:
        raise RuntimeError("can't start new thread")

    drivers = Drivers(installation, None)
    monkeypatch.setattr(Driver, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        drivers.adopt(WAITING)
    assert is_free(installation, drivers)

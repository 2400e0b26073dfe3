"""What must hold when our own code fails at the end of a job, or the engine is away before its start: both are forced here, to meet them at will."""

from __future__ import annotations

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EngineGoneError, UnavailableError
from contracts.job import JobSpec
from registry import queued
from runner import execute, results
from runner.journal import Journal
from runner.logs import LogCopy
from runner.recent import Recent
from runner.results import Collected
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process", "poll_interval_s": "0.1"})) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
        runner.build_image(PROBE, name="probe")
        yield runner


def _break_storing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whoever stores a model meets the error; a job without results can end."""

    def store(_session: object, _installation: object, _job: object, collected: Collected, *_: object) -> None:
        if collected.training:
            raise error

    monkeypatch.setattr(execute, "store", store)


def _submit(runner: Runner) -> str:
    return str(runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="kept"))["id"])


def test_results_that_cannot_be_stored_for_a_defect_of_ours_end_the_job_with_the_traceback(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = _submit(runner)
    with monkeypatch.context() as broken:
        _break_storing(broken, ValueError("a defect"))
        runner.run(job_id)
    job = runner.get_job(job_id)
    assert (job["end_reason"], job["evidence"]["message"]) == ("internal_error", "ValueError: a defect")
    assert "a defect" in job["evidence"]["fields"]["traceback"]
    assert runner.list_models() == []


def test_a_disk_that_is_full_at_the_end_leaves_the_job_to_be_carried_on(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _submit(runner)
    with monkeypatch.context() as broken:
        _break_storing(broken, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space"):
            runner.run(job_id)
    assert (runner.get_job(job_id)["state"], runner.get_job(job_id)["step"]) == ("running", "finish")
    runner.run(job_id)
    assert (runner.get_job(job_id)["state"], runner.get_model("kept")["best_stage"]) == ("succeeded", "epoch_2")


def test_without_a_service_a_job_that_nobody_drives_takes_nobodys_turn_and_no_slot(runner: Runner) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets")
    abandoned = [runner.submit(spec)["id"] for _ in range(3)]
    with runner._installation.database.writing() as session:
        queued.admit(session, abandoned[0], 1)
    *_, last = runner.watch(runner.submit(spec)["id"])
    assert last["state"] == "succeeded"
    assert [runner.get_job(job)["state"] for job in abandoned] == ["queued"] * 3


def test_while_the_files_of_a_model_are_made_durable_others_write_into_the_database(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of many gigabytes takes its time to reach the disk."""
    place, written = results._place_files, []

    def place_while_others_write(*arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as other:
            written.append(other.submit(runner.submit, JobSpec(kind="training", image="probe", train_data="pets")).result(timeout=10))
        return place(*arguments)

    monkeypatch.setattr(results, "_place_files", place_while_others_write)
    runner.run(_submit(runner))
    assert [job["state"] for job in written] == ["queued"]
    assert runner.get_model("kept")["best_stage"] == "epoch_2"


@pytest.mark.parametrize(
    ("owner", "verb", "error"),
    [
        (Journal, "update", UnavailableError("the database is away")),
        (LogCopy, "copy", OSError(errno.ENOSPC, "No space left on device")),
        (LogCopy, "drain", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_what_runs_is_left_alone_when_a_line_cannot_be_written_and_carried_on_when_it_can(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, owner: type, verb: str, error: Exception
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise error

    spec = JobSpec(kind="training", image="probe", train_data="pets", name="kept", retries=0, parameters={"sleep_s": 1.0})
    job_id = str(runner.submit(spec)["id"])
    with monkeypatch.context() as broken:
        broken.setattr(owner, verb, fail)
        with pytest.raises(type(error), match=str(error).split("] ")[-1]):
            runner.run(job_id)
    assert (runner.get_job(job_id)["state"], runner.get_job(job_id)["step"]) == ("running", "follow")
    runner.run(job_id)
    job = runner.get_job(job_id)
    assert (job["state"], job["attempt"], runner.get_model("kept")["best_stage"]) == ("succeeded", 1, "epoch_2"), job["evidence"]
    assert runner.read_job_log(job_id)[0].count(b"probe: done") == 1


# ---------------------------------------------------------------------------------------------------------- an engine that is away


def _silence(runner: Runner, monkeypatch: pytest.MonkeyPatch, verb: str, times: int) -> list[str]:
    """The engine does not answer this verb so many times; what it was asked is noted."""
    engine, asked = runner._installation.engine, list[str]()
    real = getattr(engine, verb)

    def answer(*arguments: Any) -> Any:
        asked.append(verb)
        if len(asked) <= times:
            raise EngineGoneError("the engine does not answer", hint="Start it.")
        return real(*arguments)

    monkeypatch.setattr(engine, verb, answer)
    return asked


def _submit_once(runner: Runner) -> str:
    """A job that is not tried again."""
    return str(runner.submit(JobSpec(kind="training", image="probe", train_data="pets", retries=0))["id"])


@pytest.mark.parametrize("verb", ["find_image", "create"])
def test_an_engine_that_is_away_before_the_start_is_waited_for(runner: Runner, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    job_id = _submit_once(runner)
    monkeypatch.setattr(runner._installation, "recent", Recent(lifetime_s=0.0, size=1))  # the image's presence is asked for
    asked = _silence(runner, monkeypatch, verb, 2)
    runner.run(job_id)
    job = runner.get_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1), job["evidence"]
    assert len(asked) >= 3


def test_an_engine_that_is_away_for_longer_than_allowed_ends_the_job(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _submit_once(runner)
    installation = runner._installation
    monkeypatch.setattr(installation, "settings", replace(installation.settings, start_timeout_s=1.5))
    asked = _silence(runner, monkeypatch, "create", 1000)
    runner.run(job_id)
    assert runner.get_job(job_id)["end_reason"] == "engine_gone"
    assert 2 <= len(asked) <= 4


def test_silences_of_the_engine_are_not_added_up(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = runner._installation
    monkeypatch.setattr(installation, "settings", replace(installation.settings, engine_silence_s=2.5))
    spec = JobSpec(kind="training", image="probe", train_data="pets", retries=0, parameters={"sleep_s": 7.0})
    job_id = str(runner.submit(spec)["id"])
    read_log, begin = installation.engine.read_log, time.monotonic()

    def read_or_be_silent(*arguments: Any) -> Any:
        """Silent for a second after one, and again after five."""
        if int(time.monotonic() - begin) in (1, 5):
            raise EngineGoneError("the engine does not answer", hint="Start it.")
        return read_log(*arguments)

    monkeypatch.setattr(installation.engine, "read_log", read_or_be_silent)
    runner.run(job_id)
    assert runner.get_job(job_id)["state"] == "succeeded"


def test_a_cancel_is_seen_while_an_engine_is_waited_for(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _submit_once(runner)
    asked = _silence(runner, monkeypatch, "create", 1000)
    driver = threading.Thread(target=runner.run, args=(job_id,))
    driver.start()
    while not asked or not runner.get_job(job_id)["progress"]:
        time.sleep(0.05)
    assert runner.get_job(job_id)["progress"]["message"] == "waiting for the engine: the engine does not answer"
    runner.cancel_job(job_id)
    driver.join(timeout=20.0)
    assert not driver.is_alive()
    assert runner.get_job(job_id)["end_reason"] == "cancelled"


def test_who_waits_for_an_engine_lets_go_when_told_to_and_another_carries_on(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = _submit_once(runner)
    with monkeypatch.context() as away:
        asked = _silence(runner, away, "create", 1000)
        driver = threading.Thread(target=runner.run, args=(job_id,))
        driver.start()
        while not asked:
            time.sleep(0.05)
        runner._drivers.let_go([job_id])
        driver.join(timeout=20.0)
        assert not driver.is_alive()
    assert (runner.get_job(job_id)["state"], runner.get_job(job_id)["step"]) == ("running", "create")
    runner.run(job_id)
    assert runner.get_job(job_id)["state"] == "succeeded"

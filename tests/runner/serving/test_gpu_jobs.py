"""Jobs with GPUs through the whole service: leases, waiting for them, a card that is lost under a job, and kills."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NoGpuError
from contracts.job import EndReason
from registry import jobs, leases
from runner.service import Runner
from tests.conformance.service import ServiceTools

CARDS = ("GPU-a", "GPU-b")


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


class TestGpuJobs(ServiceTools):
    engine_name = "process"

    @pytest.fixture(autouse=True)
    def cards(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        file = tmp_path / "cards.json"
        monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))

        def write(**errors: str) -> None:
            aside = file.with_suffix(".new")
            broken = {f"GPU-{letter}": {"error": error, "error_code": "lost"} for letter, error in errors.items()}
            aside.write_text(json.dumps([{"uuid": uuid, **broken.get(uuid, {})} for uuid in CARDS]))
            aside.replace(file)

        write()
        return write

    def test_jobs_share_the_cards_and_wait_for_them_by_name(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve()
        ids = [self._submit(runner, gpu_count=1, parameters={"sleep_s": 4.0}) for _ in range(3)]
        self._until(lambda: [self._state(runner, job) for job in ids].count("running") == 2)
        waiting = next(job for job in ids if self._state(runner, job) == "queued")
        assert "needs 1 GPU" in runner.get_job(waiting)["queue"]["reason"]
        held = {gpu["uuid"]: gpu["job"] for gpu in runner.list_gpus()}
        assert set(held) == set(CARDS)
        assert None not in held.values()
        assert {self._wait(runner, job)["state"] for job in ids} == {"succeeded"}
        self._until(lambda: self._leftovers(runner) == ([], []))

    def test_more_than_the_host_has_is_refused(self, runner: Runner) -> None:
        with pytest.raises(NoGpuError, match="3"):
            self._submit(runner, gpu_count=3)

    def test_a_card_that_is_lost_under_a_job_costs_an_attempt_and_the_next_takes_another(
        self, runner: Runner, serve: Callable[..., Any], cards: Callable[..., None]
    ) -> None:
        serve(retry_limit="1")
        job = self._submit(runner, gpu_count=1, parameters={"sleep_s": 25.0})
        self._until(lambda: runner.get_job(job)["step"] == "follow")
        lost = runner.get_job(job)["gpus"]
        cards(**{lost[0][-1]: "GPU is lost"})
        self._until(lambda: runner.get_job(job)["attempt"] == 2 and runner.get_job(job)["step"] == "follow")
        again = runner.get_job(job)
        assert (again["attempts"][0]["end_reason"], again["attempts"][0]["gpus"]) == ("gpu_lost", lost)
        assert again["gpus"] != lost
        runner.cancel_job(job)

    def test_a_backup_from_before_the_admission_finds_the_job_that_runs(self, runner: Runner, serve: Callable[..., Any]) -> None:
        """A27: the container has its card, the database that was restored knows neither of lease nor start."""
        job = self._submit(runner, gpu_count=1, parameters={"sleep_s": 8.0})
        before = self._killed_while_it_runs(runner, serve, job)
        started_at = runner._installation.engine.status(f"sluice-{job}-1").started_at
        serve()
        self._until(lambda: runner.get_job(job)["step"] == "follow")
        assert [gpu["state"] for gpu in runner.list_gpus()] == ["leased", "free"]
        assert (runner.get_job(job)["gpus"], runner.get_job(job)["attempt"]) == (before["gpus"], 1)
        assert runner._installation.engine.status(f"sluice-{job}-1").started_at == started_at
        assert self._wait(runner, job)["state"] == "succeeded"
        self._until(lambda: self._leftovers(runner) == ([], []))

    def test_a_running_job_whose_lease_is_forgotten_gets_it_again(self, runner: Runner, serve: Callable[..., Any]) -> None:
        job = self._submit(runner, gpu_count=2, parameters={"sleep_s": 8.0})
        service = serve()
        self._until(lambda: runner.get_job(job)["step"] == "follow")
        service.kill()
        service.wait()
        with runner._installation.database.writing() as session:
            leases.release(session, job, 1)
        assert {gpu["state"] for gpu in runner.list_gpus()} == {"orphan"}
        serve()
        self._until(lambda: {gpu["state"] for gpu in runner.list_gpus()} == {"leased"})
        assert self._wait(runner, job)["state"] == "succeeded"
        self._until(lambda: self._leftovers(runner) == ([], []))

    def test_a_container_of_a_job_that_has_ended_does_not_keep_its_card(self, runner: Runner, serve: Callable[..., Any]) -> None:
        """A27: what no job of the database explains is stopped."""
        job = self._submit(runner, gpu_count=1, parameters={"sleep_s": 60.0})
        self._killed_while_it_runs(runner, serve, job)
        with runner._installation.database.writing() as session:
            jobs.finish_job(session, job, EndReason.CANCELLED)
            jobs.set_columns(session, job, cleaned_at=datetime.now(timezone.utc))
        assert runner.list_gpus()[0]["state"] == "orphan"
        serve()
        self._until(lambda: self._leftovers(runner) == ([], []))
        assert {gpu["state"] for gpu in runner.list_gpus()} == {"free"}

    def _killed_while_it_runs(self, runner: Runner, serve: Callable[..., Any], job: str) -> dict[str, Any]:
        """The job as it ran when the service was killed; the database is then as it was before the service began."""
        file = runner._installation.home / "sluice.db"
        _copy_database(file, file.with_suffix(".backup"))
        service = serve()
        self._until(lambda: runner.get_job(job)["step"] == "follow")
        running = runner.get_job(job)
        service.kill()
        service.wait()
        _copy_database(file.with_suffix(".backup"), file)
        return running

    @pytest.mark.parametrize("point", ["admitted", "stage", "created", "started", "ended", "removed"])
    def test_a_kill_leaks_no_card(self, runner: Runner, serve: Callable[..., Any], point: str) -> None:
        job = self._submit(runner, gpu_count=2, parameters={"sleep_s": 0.3})
        assert serve(die_at=point).wait() == -signal.SIGKILL
        serve()
        assert self._wait(runner, job)["state"] == "succeeded"
        self._until(lambda: self._leftovers(runner) == ([], []))
        assert {gpu["state"] for gpu in runner.list_gpus()} == {"free"}

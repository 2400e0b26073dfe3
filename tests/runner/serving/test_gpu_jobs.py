"""Jobs with GPUs through the whole service: leases, waiting for them, a card that is lost under a job, and kills."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NoGpuError
from runner.service import Runner
from tests.conformance.service import ServiceTools

CARDS = ("GPU-a", "GPU-b")


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

    @pytest.mark.parametrize("point", ["admitted", "stage", "created", "started", "ended", "removed"])
    def test_a_kill_leaks_no_card(self, runner: Runner, serve: Callable[..., Any], point: str) -> None:
        job = self._submit(runner, gpu_count=2, parameters={"sleep_s": 0.3})
        assert serve(die_at=point).wait() == -signal.SIGKILL
        serve()
        assert self._wait(runner, job)["state"] == "succeeded"
        self._until(lambda: self._leftovers(runner) == ([], []))
        assert {gpu["state"] for gpu in runner.list_gpus()} == {"free"}

"""The short version of ``scripts/bench kill_matrix``: only the service is killed, on the engine that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.kill_matrix import OVERRIDES, try_to_lose
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE


@pytest.mark.docker
def test_nothing_is_lost_when_the_service_is_killed_a_dozen_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = tmp_path / "cards.json"
    cards.write_text(json.dumps([{"uuid": f"GPU-{number}"} for number in range(8)]))
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(cards))
    settings = load_settings({**OVERRIDES, "home": str(tmp_path / "home"), "gpu_lock": str(tmp_path / "gpu.lock")})

    def with_gpu_image(runner: Runner) -> None:
        """The engine of this machine has no cards to give; a folder's processes need none."""
        with Runner.open(load_settings({**OVERRIDES, "home": str(settings.home), "engine": "process"})) as other:
            other.build_image(PROBE, name="probe-process")

    result = try_to_lose(settings, seed=7, kills=12, gpu_image="probe-process", furnishing=with_gpu_image)
    print(result)
    assert [str(finding) for finding in result.findings] == []
    assert result.kills.total() >= 12
    assert result.jobs.total() > 20

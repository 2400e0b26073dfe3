"""The short version of ``scripts/bench kill_matrix``: only the service is killed, on the engine that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.kill_matrix import OVERRIDES, try_to_lose
from benchmarks.kill_matrix.crowd import furnish
from benchmarks.kill_matrix.killer import Killer, Plan
from benchmarks.kill_matrix.proxy import SocketProxy
from contracts.image import Kind
from contracts.job import JobSpec
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

    result = try_to_lose(settings, seed=7, kills=12, gpu_image="probe-process", furnishing=with_gpu_image, crowd_size=20)
    print(result)
    assert [str(finding) for finding in result.findings] == []
    assert result.kills.total() >= 12
    assert result.jobs.total() >= 20


@pytest.mark.docker
def test_a_service_killed_while_it_notes_that_the_engine_was_away_tries_the_job_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = SocketProxy(tmp_path / "proxy.sock", Path("/var/run/docker.sock"))
    proxy.start()
    monkeypatch.setenv("DOCKER_HOST", proxy.host)
    with Runner.open(load_settings({**OVERRIDES, "home": str(tmp_path / "home"), "start_timeout_s": "1"})) as runner:
        furnish(runner, tmp_path)
        job = runner.submit(JobSpec(kind=Kind.TRAINING, image="probe", train_data="pets"))["id"]
        killer = Killer(runner._installation.settings)
        assert killer.live(Plan("created"), _nothing)
        proxy.cut(mute=False)
        assert killer.live(Plan("finish"), _nothing)
        proxy.mend()
        killer.last_life(lambda: bool(runner.get_job(job)["ended_at"]) and not _containers(runner), patience_s=60.0)
        ended = runner.get_job(job)
        assert (ended["state"], [attempt["end_reason"] for attempt in ended["attempts"]]) == ("succeeded", ["engine_gone"])
        assert _containers(runner) == []
    proxy.close()


def _nothing() -> None:
    pass


def _containers(runner: Runner) -> list[str]:
    parts = runner._installation
    return [container.name for container in parts.engine.list_containers({"sluice.installation": parts.id})]

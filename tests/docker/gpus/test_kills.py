"""Runners that are killed at any step of a job with GPUs, and an engine that is: no card is given twice, none is kept for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import EngineGoneError
from contracts.job import container_name
from tests.conftest import ROOT
from tests.docker.gpus.books import JOB, Host
from tests.docker.gpus.private_engine import PrivateEngine, until

pytestmark = pytest.mark.docker
_NAME = container_name(JOB, 1)


def run_until(step: str, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.docker.gpus.dying_runner", str(folder), step]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("step", ["leased", "created", "looked", "started"])
def test_the_next_runner_carries_a_job_on_with_its_cards_and_its_container(host: Host, tmp_path: Path, step: str) -> None:
    """A2: killed before or after the create, or the start."""
    host.add_job(JOB)
    run_until(step, tmp_path)
    held = [uuid for uuid, card in host.cards().items() if card["state"] == "leased"]
    leased = host.pool.lease(JOB, 1, 2)
    assert list(leased) == held
    container_id = host.start_on(JOB, leased)
    assert [container["Id"] for container in host.lab.api.containers(all=True)] == [container_id]
    assert host.lab.engine.status(container_id).state == "running"
    until(lambda: host.lab.engine.read_log(container_id, "").data == b"ready\n", "the output of one start")
    assert host.end_job(JOB)
    assert set(host.states()) == {"free"}


@pytest.mark.parametrize("step", ["leased", "created", "active", "removed", "released"])
def test_the_next_runner_gives_back_what_an_ended_job_held_once(host: Host, tmp_path: Path, step: str) -> None:
    """A2: killed at the end or during the release."""
    host.add_job(JOB)
    run_until(step, tmp_path)
    host.lab.engine.stop(_NAME, 1)
    host.lab.engine.remove(_NAME)
    assert host.pool.reclaim(lambda job_id, attempt: False) == ([] if step == "released" else [JOB])
    assert host.pool.reclaim(lambda job_id, attempt: False) == []
    assert set(host.states()) == {"free"}


def test_the_cards_of_a_container_that_runs_are_not_given_back_whoever_thinks_that_its_job_ended(host: Host, tmp_path: Path) -> None:
    host.add_job(JOB)
    run_until("started", tmp_path)
    assert host.pool.reclaim(lambda job_id, attempt: False) == []
    assert host.states().count("leased") == 2


# ------------------------------------------------------------------------------------------------------------- the engine


def test_while_the_engine_is_away_leases_stay_and_no_new_one_is_given(host: Host, private_engine: PrivateEngine) -> None:
    leased = host.start_job(JOB, 2)
    private_engine.kill()
    try:
        with pytest.raises(EngineGoneError):
            host.pool.lease("other", 1, 1)
        with pytest.raises(EngineGoneError):
            host.pool.reclaim(lambda job_id, attempt: False)
        states = {uuid: card["state"] for uuid, card in host.cards().items()}
        assert {uuid for uuid, state in states.items() if state == "leased"} == set(leased)
        assert set(states.values()) == {"leased", "unknown"}
    finally:
        private_engine.start()


def test_a_restarted_engine_ends_a_job_whose_cards_are_then_given_back(host: Host, private_engine: PrivateEngine) -> None:
    """A3, without live-restore."""
    host.start_job(JOB, 2, script="exec sleep 600")
    private_engine.kill()
    private_engine.start()
    status = host.lab.engine.status(_NAME)
    assert status.state == "exited"
    assert status.exit_code in (137, 143)  # as it takes the engine's SIGTERM
    assert host.states().count("leased") == 2  # until the end was seen
    assert host.end_job(JOB)
    assert set(host.states()) == {"free"}


def test_an_engine_that_restores_its_containers_is_restarted_without_the_job_losing_its_cards(
    host: Host, private_engine: PrivateEngine
) -> None:
    """A3, with live-restore."""
    private_engine.set_live_restore(True)
    leased = host.start_job(JOB, 2)
    private_engine.kill()
    private_engine.start()
    private_engine.set_live_restore(False)
    assert host.lab.engine.status(_NAME).state == "running"
    assert host.lab.engine.gpu_claims() == dict.fromkeys(leased, (_NAME,))
    assert host.end_job(JOB)
    assert set(host.states()) == {"free"}

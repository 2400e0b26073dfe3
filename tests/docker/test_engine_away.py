"""A job whose engine's socket is cut before its container is there waits for the engine, also one that is not tried again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from benchmarks.kill_matrix import OVERRIDES
from benchmarks.kill_matrix.crowd import furnish
from benchmarks.kill_matrix.proxy import SocketProxy
from contracts.image import Kind
from contracts.job import JobSpec
from runner.execute import Attempt
from runner.service import Runner
from runner.settings import load_settings


@pytest.mark.docker
@pytest.mark.parametrize("mute", [False, True], ids=["refusing", "taking questions without an answer"])
def test_a_cut_of_the_engines_socket_before_the_start_costs_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mute: bool) -> None:
    proxy = SocketProxy(tmp_path / "proxy.sock", Path("/var/run/docker.sock"))
    proxy.start()
    monkeypatch.setenv("DOCKER_HOST", proxy.host)
    with Runner.open(load_settings({**OVERRIDES, "home": str(tmp_path / "home")})) as runner:
        furnish(runner, tmp_path)
        job = runner.submit(JobSpec(kind=Kind.TRAINING, image="probe", train_data="pets", retries=0))["id"]
        _cut_once_staged(proxy, monkeypatch, mute)
        runner.run(job)
        ended = runner.get_job(job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1), ended["evidence"]
    proxy.close()


def _cut_once_staged(proxy: SocketProxy, monkeypatch: pytest.MonkeyPatch, mute: bool) -> None:
    """For three seconds, from the moment at which the engine is to be asked for the image."""
    stage = Attempt._stage

    def mend_later() -> None:
        time.sleep(3.0)
        proxy.mend()

    def stage_and_cut(attempt: Attempt) -> None:
        stage(attempt)
        proxy.cut(mute=mute)
        threading.Thread(target=mend_later, daemon=True).start()

    monkeypatch.setattr(Attempt, "_stage", stage_and_cut)

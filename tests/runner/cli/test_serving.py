"""``sluice serve`` as a person runs it: it says when it is ready, may be killed under a command that follows a log, and ends when asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.service import Runner
from runner.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
SLUICE = (sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())")
Serve = Callable[[], tuple["subprocess.Popen[str]", dict[str, Any]]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """``serve()``: a service of a home with the probe image and a dataset, and what it said when it was ready."""
    for name, value in {"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "stop_grace_s": "1"}.items():
        monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
    with Runner.open(load_settings()) as runner:
        runner.build_image(ROOT / "tests" / "images" / "probe", name="probe")
        runner.import_dataset("scenes", ROOT / "tests" / "scenarios" / "first-steps" / "input" / "scenes")
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = sluice("serve", "--json", stderr=subprocess.DEVNULL)
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def sluice(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen([*SLUICE, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_a_service_says_where_it_listens_and_ends_well_when_asked_to(serve: Serve, tmp_path: Path) -> None:
    process, ready = serve()
    assert ready == {"ready": True, "addresses": [f"unix:{tmp_path / 'home' / 'sluice.sock'}"]}
    process.send_signal(signal.SIGTERM)
    assert (process.communicate()[0], process.returncode) == ("", 0)


def test_who_follows_a_log_gets_every_line_once_over_a_kill_of_the_service(serve: Serve) -> None:
    process, _ = serve()
    job = ("train", "probe", "--data", "scenes", "--name", "talk", "--set", "behaviour=talk:150", "--detach", "--json")
    assert json.loads(sluice(*job).communicate()[0])["state"] in ("queued", "running")
    follower = sluice("job", "logs", "-f", "talk", stderr=subprocess.DEVNULL)
    assert follower.stdout is not None
    first = [follower.stdout.readline() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    serve()
    lines = "".join([*first, follower.stdout.read()]).splitlines()
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(150)]
    follower.stdout.close()
    assert follower.wait() == 0


def test_a_job_that_waits_is_cancelled_without_a_word_of_the_queue(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(ROOT / "tests" / "scenarios" / "gpus.json"))
    serve()
    waiting = json.loads(sluice("train", "probe", "--data", "scenes", "--gpus", "2", "--detach", "--json").communicate()[0])
    assert (waiting["state"], waiting["queue"]["position"]) == ("queued", 1)
    out, err = sluice("job", "cancel", waiting["id"]).communicate()
    assert (out, err) == (f"Cancelled {waiting['id']}.\n", "")

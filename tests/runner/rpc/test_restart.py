"""The service is killed and started again while clients watch and follow: they go on where they were, and say so when it stays away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import UnavailableError
from contracts.job import JobSpec
from runner.client import RemoteRunner, find_server
from runner.service import Runner
from runner.settings import Settings, environment_of
from runner.socket_file import find_socket, is_answered
from tests.runner.rpc.conftest import HANGING, end_all_jobs

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts a service in a process of its own, which can be killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.conformance.dying_service", ""]
        with (settings.home / "serve.log").open("ab") as log:
            process = subprocess.Popen(command, env={**os.environ, **environment_of(settings)}, stdout=subprocess.PIPE, stderr=log)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), (settings.home / "serve.log").read_text()
        return process

    yield start
    for process in started:
        _kill(process)
    with Runner.open(settings) as runner:
        end_all_jobs(runner)
        runner.sweep()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _find(settings: Settings) -> RemoteRunner:
    found = find_server(settings)
    assert found is not None
    return found


def test_a_watcher_sees_the_end_of_a_job_over_a_kill_of_the_service(settings: Settings, start: Start) -> None:
    first = start()
    with _find(settings) as remote:
        job = remote.submit(JobSpec(**{**HANGING, "parameters": {"sleep_s": 2.0}}))
        seen: list[dict[str, Any]] = []
        for update in remote.watch(job["id"]):
            seen.append(update)
            if update["step"] == "follow" and first.poll() is None:
                _kill(first)
                start()
    assert first.poll() is not None, "the service was never killed"
    assert (seen[-1]["state"], seen[-1]["attempt"]) == ("succeeded", 1), seen[-1]["evidence"]


def test_a_follower_gets_every_byte_once_over_a_kill_of_the_service(settings: Settings, start: Start) -> None:
    first = start()
    with _find(settings) as remote:
        job = remote.submit(JobSpec(**{**HANGING, "parameters": {"behaviour": "talk:150"}}))
        got = b""
        for data, offset, _ in remote.follow_job_log(job["id"]):
            got += data
            assert offset == len(got)
            if b"line 30" in got and first.poll() is None:
                _kill(first)
                start()
        whole = (Path(remote.get_job(job["id"])["run_dir"]) / "container.log").read_bytes()
    assert first.poll() is not None, "the service was never killed"
    assert got == whole
    assert got.count(b"\nline 149\n") == 1


def test_what_only_looks_and_a_submit_wait_for_the_next_service(settings: Settings, start: Start) -> None:
    first = start()
    with _find(settings) as remote:
        _kill(first)
        timer = threading.Timer(0.5, start)
        timer.start()
        job = remote.submit(JobSpec(**HANGING))
        timer.join()
        assert [found["id"] for found in remote.list_jobs()["jobs"]] == [job["id"]]


def test_a_service_that_stays_away_is_named_after_the_patience(settings: Settings, start: Start) -> None:
    process = start()
    path = find_socket(settings)
    assert path is not None
    with RemoteRunner.over_unix(path, patience_s=0.5) as remote:
        job = remote.submit(JobSpec(**HANGING))
        watching = remote.watch(job["id"])
        next(watching)
        _kill(process)
        with pytest.raises(UnavailableError, match=r"did not come back within 0\.5 s") as caught:
            list(watching)
        assert "sluice serve" in caught.value.hint
        with pytest.raises(UnavailableError, match="whether RerunJob was done is not known"):
            remote.rerun_job(job["id"])


def test_a_service_that_stops_lets_its_watchers_go_to_the_next_one(settings: Settings, start: Start) -> None:
    first = start()
    with _find(settings) as remote:
        job = remote.submit(JobSpec(**{**HANGING, "parameters": {"sleep_s": 2.0}}))
        for update in remote.watch(job["id"]):
            if update["step"] == "follow" and first.poll() is None:
                first.terminate()
                assert first.wait(60) == 0
                start()
        assert update["state"] == "succeeded"


def test_the_socket_of_a_killed_service_is_no_service_and_is_in_nobodys_way(settings: Settings, start: Start) -> None:
    _kill(start())
    assert (settings.home / "sluice.sock").is_socket()
    assert not is_answered(settings.home / "sluice.sock")
    assert find_server(settings) is None
    start()
    with _find(settings) as remote:
        assert remote.list_datasets()

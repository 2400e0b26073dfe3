"""Watching and following: at once, for many, and nothing stays behind when a client goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest

from contracts.errors import NotFoundError, UnavailableError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.sluice_pb2_grpc import SluiceStub
from runner.client import RemoteRunner
from runner.rpc import RpcServer
from runner.serve import Service
from runner.settings import Settings
from tests.runner.rpc.conftest import HANGING

_PATIENCE_S = 60.0


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _training(**parameters: Any) -> JobSpec:
    return JobSpec(kind="training", image="probe", train_data="pets", parameters=parameters)


@pytest.fixture
def server(service: Service, settings: Settings) -> Iterator[RpcServer]:
    """A second door of the service, which the test can ask about itself."""
    server = RpcServer(service.runner, replace(settings, listen=str(settings.home / "second.sock")))
    server.start()
    yield server
    server.stop(1.0)


@pytest.fixture
def stub(server: RpcServer, settings: Settings) -> Iterator[Any]:
    with grpc.insecure_channel(f"unix:{settings.home / 'second.sock'}") as channel:
        yield SluiceStub(channel)


def test_a_job_is_watched_to_its_end_each_change_once(remote: RemoteRunner) -> None:
    seen = list(remote.watch(remote.submit(_training(sleep_s=0.3))["id"]))
    assert seen[-1]["state"] == "succeeded", seen[-1]["evidence"]
    assert [job["state"] for job in seen] == sorted((job["state"] for job in seen), key=["queued", "running", "succeeded"].index)
    assert all(one != next_ for one, next_ in pairwise(seen))
    assert list(remote.watch(seen[-1]["id"])) == seen[-1:]


def test_run_waits_and_attend_does_not(remote: RemoteRunner) -> None:
    job = remote.submit(_training(sleep_s=0.3))
    remote.attend(job["id"])
    remote.run(job["id"])
    assert remote.get_job(job["id"])["state"] == "succeeded"


def test_a_job_is_cancelled_and_its_end_waited_for(remote: RemoteRunner) -> None:
    job = remote.submit(JobSpec(**HANGING))
    next(update for update in remote.watch(job["id"]) if update["step"] == "follow")
    assert remote.cancel_job(job["id"], wait=False)["cancel_requested"]
    cancelled = remote.cancel_job(job["id"])
    assert (cancelled["state"], cancelled["end_reason"]) == ("cancelled", "cancelled")
    assert remote.cancel_job(job["id"]) == cancelled


def test_a_job_is_run_again_for_whoever_asks(remote: RemoteRunner) -> None:
    job = remote.submit(_training(), user="ada")
    again = remote.rerun_job(job["id"], user="bob")
    assert (job["user"], again["user"], again["rerun_of"]) == ("ada", "bob", job["id"])


def test_output_is_followed_while_it_comes_and_whole(remote: RemoteRunner, service: Service) -> None:
    job = remote.submit(_training(behaviour="talk:40"))
    chunks = list(remote.follow_job_log(job["id"]))
    whole, end, _ = service.runner.read_job_log(job["id"])
    assert b"".join(data for data, _, _ in chunks) == whole
    assert [ended for _, _, ended in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1][1] == end
    assert len(chunks) > 3, "it came in one piece, so nothing was followed"


def test_much_output_arrives_byte_for_byte(remote: RemoteRunner, service: Service) -> None:
    job = remote.submit(_training(behaviour="flood:9000000"))
    remote.run(job["id"])
    path = Path(service.runner.get_job(job["id"])["run_dir"]) / "container.log"
    assert b"".join(data for data, _, _ in remote.follow_job_log(job["id"])) == path.read_bytes()
    assert remote.read_job_log(job["id"], 0, 3 << 20)[0] == path.read_bytes()[: 3 << 20]


def test_two_hundred_watchers_hold_no_thread_and_all_hear_of_the_end(stub: Any, remote: RemoteRunner) -> None:
    job = remote.submit(JobSpec(**HANGING))
    next(update for update in remote.watch(job["id"]) if update["step"] == "follow")
    calls = [stub.Watch(pb.WatchRequest(reference=job["id"])) for _ in range(200)]
    for call in calls:
        assert next(call).id == job["id"]
    assert sum(thread.name.startswith("rpc") for thread in threading.enumerate()) <= 1 + 16 + 8
    assert remote.cancel_job(job["id"])["state"] == "cancelled"
    assert [list(call)[-1].state for call in calls] == ["cancelled"] * 200


def test_a_client_that_goes_away_leaves_no_watcher(stub: Any, remote: RemoteRunner, server: RpcServer) -> None:
    job = remote.submit(JobSpec(**HANGING))
    next(update for update in remote.watch(job["id"]) if update["step"] == "follow")
    calls = [stub.Watch(pb.WatchRequest(reference=job["id"])) for _ in range(5)]
    calls += [stub.ReadJobLog(pb.ReadJobLogRequest(reference=job["id"], follow=True)) for _ in range(5)]
    for call in calls:
        next(call)
    assert server.open_streams == 10
    for call in calls:
        call.cancel()
    _until(lambda: server.open_streams == 0)


def test_a_call_ends_at_its_deadline_on_both_sides(stub: Any, remote: RemoteRunner, server: RpcServer) -> None:
    job = remote.submit(JobSpec(**HANGING))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Watch(pb.WatchRequest(reference=job["id"]), timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    _until(lambda: server.open_streams == 0)


def test_a_client_with_a_time_limit_says_that_it_passed(service: Service, remote: RemoteRunner) -> None:
    job = remote.submit(JobSpec(**{**HANGING, "parameters": {"behaviour": "ignore-term"}}))
    next(update for update in remote.watch(job["id"]) if update["step"] == "follow")
    path = Path(service.addresses[0].removeprefix("unix:"))
    with RemoteRunner.over_unix(path, timeout_s=0.2) as hurried, pytest.raises(UnavailableError, match="did not answer in time"):
        hurried.cancel_job(job["id"])


def test_what_is_not_there_cannot_be_watched(remote: RemoteRunner) -> None:
    for ask in (lambda: list(remote.watch("none")), lambda: list(remote.follow_job_log("none")), lambda: remote.read_job_log("none")):
        with pytest.raises(NotFoundError, match="no job 'none'"):
            ask()

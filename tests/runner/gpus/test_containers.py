"""From a process on a card to the real container it runs in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import docker
import pytest

from contracts.gpu import Gpu, GpuProcess, Snapshot
from registry.leases import LeaseRecord, LeaseState
from registry.tables import now
from runner.gpus import Books, CardState
from runner.gpus.host import containers_of

pytestmark = pytest.mark.docker


@pytest.fixture
def container() -> Iterator[Any]:
    client = docker.from_env()
    command = ["python3", "-c", "import time; time.sleep(600)"]
    name = f"test-gpus-{secrets.token_hex(4)}"
    container = client.containers.run("sluice/base:bookworm", command, name=name, network_mode="none", detach=True)
    container.reload()
    yield container
    container.remove(force=True)
    client.close()


def test_a_process_on_a_leased_card_is_the_jobs_when_it_is_in_its_container_and_a_strangers_otherwise(container: Any) -> None:
    pid = container.attrs["State"]["Pid"]
    assert containers_of(pid) == (container.id,)
    snapshot = Snapshot((Gpu("GPU-0", 0, processes=(GpuProcess(pid),)),), taken_at=time.time())
    own = LeaseRecord(1, "host", "t1234567", 1, ("GPU-0",), LeaseState.ACTIVE, "", now(), container_id=container.id)
    other = replace(own, container_id="ab" * 32)
    states = [Books("host", snapshot, leases=(lease,), own={lease.container_id: ("t1234567", 1)}).cards[0].state for lease in (own, other)]
    assert states == [CardState.LEASED, CardState.CONTENDED]


def test_a_process_that_was_put_into_a_running_container_is_its_jobs_too(container: Any) -> None:
    """A25: `docker exec`."""
    container.exec_run(["python3", "-c", "import time; time.sleep(600)"], detach=True)
    pids = [int(row[1]) for row in container.top()["Processes"]]
    assert len(pids) == 2
    assert {containers_of(pid) for pid in pids} == {(container.id,)}

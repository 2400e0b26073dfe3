"""From a process on a card to the real container it runs in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import docker
import pytest

from contracts.gpu import Gpu, GpuProcess
from registry.leases import LeaseRecord, LeaseState
from registry.tables import now
from runner.gpus import CardState, Reading, classify, containers_of

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
    reading = Reading((Gpu("GPU-0", 0, processes=(GpuProcess(pid),)),), {})
    own = LeaseRecord(1, "host", "t1234567", 1, ("GPU-0",), LeaseState.ACTIVE, "", now(), container_id=container.id)
    other = replace(own, container_id="ab" * 32)
    assert [classify(reading, [lease])[0].state for lease in (own, other)] == [CardState.LEASED, CardState.CONTENDED]

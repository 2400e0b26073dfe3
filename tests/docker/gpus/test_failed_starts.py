"""Starts that fail over their cards: what the engine says, what is left, and that it can be put right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from contracts.errors import StartError
from contracts.job import container_name
from plugins.engines.docker import DockerEngine
from plugins.gpus.nvml import NvmlSource
from registry.database import Database
from tests.conftest import BASE_IMAGE
from tests.docker.gpus.books import Host, open_pool
from tests.docker.gpus.lab import Lab
from tests.fake_nvml.world import World

pytestmark = pytest.mark.docker
JOB = "no-toolkit"  # a name of its own on an engine that others use too
_NAME = container_name(JOB, 1)


def test_a_card_that_the_toolkit_does_not_know_is_named(lab: Lab, uuids: list[str]) -> None:
    container_id = lab.engine.create(lab.spec([uuids[0], "GPU-made-anew"]))
    with pytest.raises(StartError, match="GPU-made-anew: unknown device") as raised:
        lab.engine.start(container_id)
    assert raised.value.fields["gpu"] == "unknown_device"
    assert raised.value.fields["gpu_uuids"] == ["GPU-made-anew"]


def test_what_a_failed_start_leaves_has_not_run_claims_no_card_and_can_be_removed(lab: Lab, uuids: list[str]) -> None:
    spec = lab.spec([uuids[0], "GPU-made-anew"])
    with pytest.raises(StartError):
        lab.start(spec)
    status = lab.engine.status(spec.name)
    assert (status.state, status.exit_code) == ("created", None)
    assert "unknown device" in status.error
    assert lab.engine.gpu_claims() == {}
    lab.engine.stop(spec.name, 1)
    lab.engine.remove(spec.name)
    assert lab.engine.status(spec.name).state == "gone"


def test_a_start_may_be_repeated_when_the_card_is_back(lab: Lab, world: World, uuids: list[str]) -> None:
    container_id = lab.engine.create(lab.spec(["GPU-late"]))
    with pytest.raises(StartError):
        lab.engine.start(container_id)
    world.add_card("GPU-late")
    world.write()
    lab.engine.start(container_id)
    assert lab.engine.status(container_id).state == "running"


# -------------------------------------------------------------------------------------------------------- without a toolkit


@pytest.fixture
def bare_host(uuids: list[str], source: NvmlSource, tmp_path: Path) -> Iterator[Host]:
    """The machine's own engine, whose dockerd had no hook on its PATH when it started."""
    engine = DockerEngine()
    if engine.info().details["nvidia runtime"] == "yes":
        pytest.skip("this machine's engine has the NVIDIA Container Toolkit")
    with Database.open(tmp_path / "sluice.db") as database, closing(docker.from_env()) as client:
        lab = Lab(engine, lambda: client.api, tmp_path, BASE_IMAGE)
        yield Host(lab, open_pool(database, engine, source, tmp_path / "gpu.lock"), database)
    engine.remove(_NAME)
    engine.close()


def test_an_engine_without_the_toolkit_says_what_to_install(bare_host: Host) -> None:
    with pytest.raises(StartError, match='could not select device driver "nvidia"') as raised:
        bare_host.start_job(JOB, 1)
    assert raised.value.fields["gpu"] == "toolkit_missing"
    assert "install the NVIDIA Container Toolkit" in raised.value.hint


def test_after_it_neither_container_nor_lease_is_left(bare_host: Host) -> None:
    """A22."""
    with pytest.raises(StartError):
        bare_host.start_job(JOB, 1)
    assert bare_host.lab.engine.status(_NAME).state == "created"
    assert bare_host.end_job(JOB)
    assert bare_host.lab.engine.status(_NAME).state == "gone"
    assert set(bare_host.states()) == {"free"}

"""Starts that fail over their cards: what the engine says, what is left, and that it can be put right."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import StartError
from contracts.seams import ContainerSpec
from plugins.engines.docker import DockerEngine
from tests.conftest import BASE_IMAGE
from tests.docker.gpus.lab import Lab
from tests.fake_nvml.world import World

pytestmark = pytest.mark.docker


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


def test_an_engine_without_the_toolkit_says_what_to_install(tmp_path: Path) -> None:
    """The machine's own engine, whose dockerd had no hook on its PATH when it started."""
    engine = DockerEngine()
    if engine.info().details["nvidia runtime"] == "yes":
        pytest.skip("this machine's engine has the NVIDIA Container Toolkit")
    facts = engine.find_image(BASE_IMAGE)
    assert facts
    spec = ContainerSpec(
        name="sluice-no-toolkit-1", image=facts.digest, in_dir=tmp_path, out_dir=tmp_path, gpu_uuids=("GPU-a",), gpu_injection="nvidia"
    )
    try:
        container_id = engine.create(spec)
        with pytest.raises(StartError, match='could not select device driver "nvidia"') as raised:
            engine.start(container_id)
        assert raised.value.fields["gpu"] == "toolkit_missing"
        assert "install the NVIDIA Container Toolkit" in raised.value.hint
        assert engine.status(container_id).state == "created"
    finally:
        engine.remove(spec.name)
        engine.close()

"""`sluice doctor` on a host with GPUs: it gives one to a container and says what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EngineError, StartError
from plugins.gpus.nvml import NvmlSource
from runner import doctor
from runner.gpus.lock import host_lock
from runner.installation import Installation
from runner.settings import load_settings
from tests.docker.gpus.lab import Lab, hide_from_toolkit
from tests.docker.gpus.private_engine import IMAGE
from tests.fake_nvml.world import World

pytestmark = pytest.mark.docker


@pytest.fixture
def base_image(lab: Lab) -> Iterator[None]:
    """An image that doctor knows."""
    lab.api.tag(IMAGE, "sluice/base", "bookworm")
    yield
    lab.api.remove_image("sluice/base:bookworm")


@pytest.fixture
def installation(lab: Lab, source: NvmlSource, tmp_path: Path) -> Iterator[Installation]:
    settings = {"home": str(tmp_path / "home"), "gpus": "nvml", "engine": "docker", "gpu_lock": str(tmp_path / "gpu.lock")}
    made = Installation(load_settings(settings))
    yield made
    made.close()


def finding(installation: Installation) -> dict[str, Any]:
    return next(found for found in doctor.examine(installation) if found["check"] == "gpus")


def test_a_host_that_gives_containers_their_cards_is_well(installation: Installation, base_image: None, lab: Lab, uuids: list[str]) -> None:
    found = finding(installation)
    assert (found["status"], found["message"]) == ("ok", "8 GPUs, 8 free; containers see what they are given")
    assert not lab.api.containers(all=True)


def test_a_host_whose_toolkit_does_not_know_the_cards_is_told(
    installation: Installation, base_image: None, lab: Lab, world: World, uuids: list[str]
) -> None:
    hide_from_toolkit(world, *uuids)
    found = finding(installation)
    assert found["status"] == "failed"
    assert "unknown device" in found["message"]
    assert "nvidia-smi -L" in found["remedy"]
    assert not lab.api.containers(all=True)


def test_without_an_image_to_try_it_with_doctor_says_so(installation: Installation, uuids: list[str]) -> None:
    found = finding(installation)
    assert found["status"] == "ok"
    assert "not tried in a container" in found["message"]


def test_while_a_job_is_started_doctor_does_not_stand_in_its_way(
    installation: Installation, base_image: None, uuids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE_S", 0.0)
    with host_lock(tmp_path / "gpu.lock"):
        found = finding(installation)
    assert found["status"] == "ok"
    assert "just being started" in found["message"]


def test_a_container_tells_slices_and_not_the_card_they_are_cut_from(lab: Lab, uuids: list[str], slices: list[str]) -> None:
    given = [uuids[2], uuids[5], slices[0]]
    assert lab.engine.gpus_inside(IMAGE, given) == tuple(given)


def test_an_image_that_the_engine_lacks_is_named(lab: Lab, uuids: list[str]) -> None:
    with pytest.raises(StartError, match="No such image"):
        lab.engine.gpus_inside("sluice-test/none:latest", uuids[:1])


def test_a_toolkit_that_brings_no_program_is_told_by_its_words(lab: Lab) -> None:
    with pytest.raises(EngineError, match="nvidia-smi: "):
        lab.engine.gpus_inside(IMAGE, ())

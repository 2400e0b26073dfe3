"""Cards by CDI, which Debian 12's engine does not know; with a newer dockerd first on the PATH these tests run on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from contracts.errors import StartError
from tests.docker.gpus.lab import Lab
from tests.docker.gpus.private_engine import CDI_SINCE, GREEDY_IMAGE

pytestmark = pytest.mark.docker
LISTED_SINCE = (28, 2)  # from here on the engine says which cards it can give


def version(lab: Lab) -> tuple[int, int]:
    major, minor, *_ = lab.engine.info().version.split(".")
    return int(major), int(minor)


def write_cdi(lab: Lab, uuids: Sequence[str]) -> None:
    """As `nvidia-ctk cdi generate` does; here a card is a variable that the container gets."""
    lab.private.cdi_folder.mkdir(exist_ok=True)
    devices = [{"name": uuid, "containerEdits": {"env": [f"CARD_{place}={uuid}"]}} for place, uuid in enumerate(uuids)]
    content = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": {"env": ["BY_CDI=yes"]}}
    aside = lab.private.cdi_folder / "nvidia.aside"
    aside.write_text(json.dumps(content))
    aside.replace(lab.private.cdi_folder / "nvidia.json")


@pytest.fixture
def cdi(lab: Lab, uuids: list[str]) -> Iterator[None]:
    if version(lab)[0] < CDI_SINCE:
        pytest.skip(f"engine {lab.engine.info().version} does not know CDI")
    write_cdi(lab, uuids)
    yield
    (lab.private.cdi_folder / "nvidia.json").unlink()


def drivers(lab: Lab, container_id: str) -> list[str]:
    return [request["Driver"] for request in lab.private.api.inspect_container(container_id)["HostConfig"]["DeviceRequests"]]


def test_an_engine_without_cdi_says_so_at_the_start(lab: Lab, uuids: list[str]) -> None:
    if version(lab)[0] >= CDI_SINCE:
        pytest.skip("this engine knows CDI")
    container_id = lab.engine.create(lab.spec(uuids[:1], gpu_injection="cdi"))
    with pytest.raises(StartError, match="could not select device driver") as raised:
        lab.engine.start(container_id)
    assert raised.value.fields["gpu"] == "cdi_missing"
    assert "gpu_injection = nvidia" in raised.value.hint


def test_cards_come_by_cdi_and_the_hook_gives_no_further_ones(lab: Lab, uuids: list[str], cdi: None) -> None:
    lines = lab.output_of(lab.spec([uuids[6], uuids[1]], "env", gpu_injection="cdi", image=GREEDY_IMAGE))
    assert {line for line in lines if line.startswith("CARD_")} == {f"CARD_{place}={uuids[place]}" for place in (1, 6)}
    assert {"BY_CDI=yes", "NVIDIA_VISIBLE_DEVICES=void", "CUDA_DEVICE_ORDER=PCI_BUS_ID"} <= set(lines)


def test_whose_cards_they_are_is_read_from_the_request_though_the_environment_says_void(lab: Lab, uuids: list[str], cdi: None) -> None:
    spec = lab.spec(uuids[:2], gpu_injection="cdi")
    container_id = lab.start(spec)
    assert lab.engine.status(container_id).gpu_uuids == tuple(uuids[:2])
    assert lab.engine.gpu_claims() == dict.fromkeys(uuids[:2], spec.name)


def test_left_to_itself_the_engine_gives_by_cdi_what_it_lists_and_by_the_hook_what_it_does_not(
    lab: Lab, uuids: list[str], cdi: None
) -> None:
    write_cdi(lab, uuids[:4])
    listed, unlisted = lab.start(lab.spec(uuids[:1])), lab.start(lab.spec(uuids[5:6]))
    assert drivers(lab, listed) == (["cdi"] if version(lab) >= LISTED_SINCE else ["nvidia"])
    assert drivers(lab, unlisted) == ["nvidia"]


def test_a_list_that_lacks_the_card_is_told_with_the_card(lab: Lab, uuids: list[str], cdi: None) -> None:
    container_id = lab.engine.create(lab.spec(["MIG-made-anew"], gpu_injection="cdi"))
    with pytest.raises(StartError, match="unresolvable CDI device") as raised:
        lab.engine.start(container_id)
    assert raised.value.fields["gpu"] == "cdi_stale"
    assert raised.value.fields["gpu_uuids"] == ["MIG-made-anew"]
    assert "nvidia-ctk cdi generate" in raised.value.hint

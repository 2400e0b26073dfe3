"""Cards by CDI, which Debian 12's engine does not know; with a newer dockerd first on the PATH these tests run on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import pytest

from contracts.errors import StartError
from tests.docker.gpus.lab import Lab
from tests.docker.gpus.private_engine import CDI_SINCE, GREEDY_IMAGE, PrivateEngine

pytestmark = pytest.mark.docker
LISTED_SINCE = (28, 2)  # from here on the engine says which cards it can give


def version(lab: Lab) -> tuple[int, int]:
    major, minor, *_ = lab.engine.info().version.split(".")
    return int(major), int(minor)


@pytest.fixture
def cdi(lab: Lab, private_engine: PrivateEngine, uuids: list[str]) -> Iterator[Callable[[Sequence[str]], None]]:
    """Lists cards as `nvidia-ctk cdi generate` does, at first all; a container gets a variable for each that it is given."""
    if version(lab)[0] < CDI_SINCE:
        pytest.skip(f"engine {lab.engine.info().version} does not know CDI")
    file = private_engine.cdi_folder / "nvidia.json"

    def write(names: Sequence[str]) -> None:
        devices = [{"name": name, "containerEdits": {"env": [f"CARD_{place}={name}"]}} for place, name in enumerate(names)]
        content = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": {"env": ["BY_CDI=yes"]}}
        aside = file.with_suffix(".aside")
        aside.write_text(json.dumps(content), encoding="utf-8")
        aside.replace(file)

    private_engine.cdi_folder.mkdir(exist_ok=True)
    write(uuids)
    yield write
    file.unlink()


def drivers(lab: Lab, container_id: str) -> list[str]:
    return [request["Driver"] for request in lab.api.inspect_container(container_id)["HostConfig"]["DeviceRequests"]]


def test_an_engine_without_cdi_says_so_at_the_start(lab: Lab, uuids: list[str]) -> None:
    if version(lab)[0] >= CDI_SINCE:
        pytest.skip("this engine knows CDI")
    container_id = lab.engine.create(lab.spec(uuids[:1], gpu_injection="cdi"))
    with pytest.raises(StartError, match="could not select device driver") as raised:
        lab.engine.start(container_id)
    assert raised.value.fields["gpu"] == "cdi_missing"
    assert "gpu_injection = nvidia" in raised.value.hint


def test_cards_come_by_cdi_and_the_hook_gives_no_further_ones(lab: Lab, uuids: list[str], cdi: Callable[[Sequence[str]], None]) -> None:
    lines = lab.output_of(lab.spec([uuids[6], uuids[1]], "env", gpu_injection="cdi", image=GREEDY_IMAGE))
    assert {line for line in lines if line.startswith("CARD_")} == {f"CARD_{place}={uuids[place]}" for place in (1, 6)}
    assert {"BY_CDI=yes", "NVIDIA_VISIBLE_DEVICES=void", "CUDA_DEVICE_ORDER=PCI_BUS_ID"} <= set(lines)


def test_whose_cards_they_are_is_read_from_the_request_though_the_environment_says_void(
    lab: Lab, uuids: list[str], cdi: Callable[[Sequence[str]], None]
) -> None:
    """A24."""
    spec = lab.spec(uuids[:2], gpu_injection="cdi")
    container_id = lab.start(spec)
    assert lab.engine.status(container_id).gpu_uuids == tuple(uuids[:2])
    assert lab.engine.gpu_claims() == dict.fromkeys(uuids[:2], (spec.name,))


def test_left_to_itself_the_engine_gives_by_cdi_what_it_lists_and_by_the_hook_what_it_does_not(
    lab: Lab, uuids: list[str], cdi: Callable[[Sequence[str]], None]
) -> None:
    cdi(uuids[:4])
    listed, unlisted = lab.start(lab.spec(uuids[:1])), lab.start(lab.spec(uuids[5:6]))
    assert drivers(lab, listed) == (["cdi"] if version(lab) >= LISTED_SINCE else ["nvidia"])
    assert drivers(lab, unlisted) == ["nvidia"]


def test_a_list_that_lacks_the_card_is_told_with_the_card(lab: Lab, uuids: list[str], cdi: Callable[[Sequence[str]], None]) -> None:
    container_id = lab.engine.create(lab.spec(["MIG-made-anew"], gpu_injection="cdi"))
    with pytest.raises(StartError, match="unresolvable CDI device") as raised:
        lab.engine.start(container_id)
    assert raised.value.fields["gpu"] == "cdi_stale"
    assert raised.value.fields["gpu_uuids"] == ["MIG-made-anew"]
    assert "nvidia-ctk cdi generate" in raised.value.hint

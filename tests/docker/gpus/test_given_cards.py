"""What a container gets to see of the cards, on a real engine: exactly those of its lease."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.errors import StartError
from plugins.engines.docker import DockerEngine
from tests.docker.gpus.lab import HOLD, Lab
from tests.docker.gpus.private_engine import GREEDY_IMAGE, IMAGE, PrivateEngine, until

pytestmark = pytest.mark.docker
LIST = "nvidia-smi -L 2>&1; echo visible ${NVIDIA_VISIBLE_DEVICES-nothing} order ${CUDA_DEVICE_ORDER-any}"


@pytest.fixture
def nvidia_by_default(private_engine: PrivateEngine) -> Iterator[None]:
    """As `nvidia-ctk runtime configure --set-as-default` makes an engine: an image's environment alone gives it cards."""
    private_engine.set_default_runtime("nvidia")
    yield
    private_engine.set_default_runtime("runc")


def seen(lines: list[str]) -> list[str]:
    return [line.partition("UUID: ")[2].rstrip(")") for line in lines if "UUID: " in line]


@pytest.mark.parametrize("image", [IMAGE, GREEDY_IMAGE])
def test_a_container_sees_the_cards_of_its_lease_and_no_other(lab: Lab, uuids: list[str], image: str) -> None:
    lease = [uuids[6], uuids[1]]
    lines = lab.output_of(lab.spec(lease, LIST, image=image))
    assert seen(lines) == sorted(lease)
    assert lines[-1] == f"visible {','.join(lease)} order PCI_BUS_ID"


def test_the_engine_gets_one_request_for_all_cards(lab: Lab, uuids: list[str]) -> None:
    """A19."""
    container_id = lab.start(lab.spec(uuids[:2]))
    inspected = lab.api.inspect_container(container_id)
    assert [request["DeviceIDs"] for request in inspected["HostConfig"]["DeviceRequests"]] == [uuids[:2]]
    assert lab.engine.status(container_id).gpu_uuids == tuple(uuids[:2])


def test_a_slice_is_given_by_its_own_uuid(lab: Lab, slices: list[str]) -> None:
    card, *inside = seen(lab.output_of(lab.spec(slices[1:2], LIST)))
    assert inside == slices[1:2]
    assert card not in slices


@pytest.mark.parametrize("image", [IMAGE, GREEDY_IMAGE])
def test_a_job_without_cards_sees_none(lab: Lab, uuids: list[str], image: str) -> None:
    lines = lab.output_of(lab.spec([], LIST, image=image))
    assert not seen(lines)
    assert lines[-1] == "visible void order any"


def test_a_greedy_image_gets_no_card_even_where_nvidia_is_the_default_runtime(lab: Lab, uuids: list[str], nvidia_by_default: None) -> None:
    """A20."""
    with lab.foreign(image=GREEDY_IMAGE) as greedy:  # the trap is real: without our word it gets every card
        assert lab.engine.gpu_claims() == {"*": ("foreign",)}
        assert seen(lab.run_in(greedy, "nvidia-smi", "-L")) == uuids
    lines = lab.output_of(lab.spec([], LIST, image=GREEDY_IMAGE))
    assert not seen(lines)


def test_a_lease_is_all_a_greedy_image_gets_where_nvidia_is_the_default_runtime(
    lab: Lab, uuids: list[str], nvidia_by_default: None
) -> None:
    assert seen(lab.output_of(lab.spec(uuids[3:4], LIST, image=GREEDY_IMAGE))) == uuids[3:4]
    container_id = lab.start(lab.spec(uuids[3:4], HOLD, image=GREEDY_IMAGE))
    assert lab.engine.status(container_id).gpu_uuids == (uuids[3],)


# ------------------------------------------------------------------------------------------------------------ who was given


def test_claims_name_the_containers_that_run_and_no_other(lab: Lab, uuids: list[str]) -> None:
    ours = lab.spec(uuids[:1])
    lab.start(ours)
    lab.engine.create(lab.spec(uuids[1:2]))  # created cards are nobody's yet
    with lab.foreign({"DeviceIDs": [uuids[6]]}, used_bytes=0):
        assert lab.engine.gpu_claims() == {uuids[0]: (ours.name,), uuids[6]: ("foreign",)}
    lab.engine.stop(ours.name, 1)
    until(lambda: lab.engine.gpu_claims() == {}, "an end in the engine's list")  # which may lag behind by a moment


def test_of_several_containers_with_one_card_all_are_named(lab: Lab, uuids: list[str]) -> None:
    ours = lab.spec(uuids[:1])
    with lab.foreign({"DeviceIDs": uuids[:1]}, name="older"):
        lab.start(ours)
        with lab.foreign({"DeviceIDs": uuids[:1]}, name="younger"):
            assert lab.engine.gpu_claims() == {uuids[0]: tuple(sorted(("older", ours.name, "younger")))}


def test_a_repeated_create_adopts_the_container_with_the_same_cards_only(lab: Lab, uuids: list[str], engine: DockerEngine) -> None:
    spec = lab.spec(uuids[:1], name="sluice-again-1")
    container_id = engine.create(spec)
    assert engine.create(lab.spec(uuids[:1], name="sluice-again-1")) == container_id
    with pytest.raises(StartError, match="is not this one"):
        engine.create(lab.spec(uuids[1:2], name="sluice-again-1"))

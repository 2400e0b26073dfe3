"""The devices that running containers were given, under all the names that engines have for them."""

from __future__ import annotations

import pytest

from contracts.gpu import Gpu
from runner.gpus.claims import containers_by_device

CUT = Gpu("GPU-aaaa", 0, mig_enabled=True)
SLICES = tuple(
    Gpu(f"MIG-{number}", 0, kind="mig", parent_uuid="GPU-aaaa", gpu_instance=number + 7, compute_instance=0) for number in range(2)
)
WHOLE = Gpu("GPU-bbbb", 1)


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("GPU-bbbb", {"GPU-bbbb"}),
        ("1", {"GPU-bbbb"}),
        ("MIG-1", {"MIG-1"}),
        ("0:1", {"MIG-1"}),
        ("0:2", set()),
        ("MIG-GPU-aaaa/8/0", {"MIG-1"}),
        ("MIG-GPU-aaaa/9/0", set()),
        ("MIG-GPU-bbbb/8/0", set()),
        ("0", {"GPU-aaaa", "MIG-0", "MIG-1"}),
        ("GPU-aaaa", {"GPU-aaaa", "MIG-0", "MIG-1"}),
        ("*", {"GPU-aaaa", "MIG-0", "MIG-1", "GPU-bbbb"}),
        ("GPU-cccc", set()),
        ("9", set()),
    ],
)
def test_every_name_of_a_device_is_understood(name: str, devices: set[str]) -> None:
    assert set(containers_by_device([CUT, *SLICES, WHOLE], {name: ("web",)})) == devices


def test_all_who_were_given_a_device_are_known_whatever_they_called_it() -> None:
    found = containers_by_device([WHOLE], {"1": ("two", "one"), "GPU-bbbb": ("three",), "*": ("one",)})
    assert found["GPU-bbbb"] == ("one", "three", "two")

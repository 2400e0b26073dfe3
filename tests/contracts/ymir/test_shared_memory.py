"""The shared memory of a container: what the image asks for, as docker reads it, and never more than the host has."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ParameterError
from contracts.ymir import shm_bytes

GIB = 1024**3
HOST = 64 * GIB


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("32G", 32 * GIB),
        ("64g", HOST),
        ("2048m", 2 * GIB),
        ("512K", 512 * 1024),
        ("1.5GiB", 3 * GIB // 2),
        ("16gb", 16 * GIB),
        (" 1 G ", GIB),
        ("1048576", 1024**2),
        (1048576, 1024**2),
        ("100b", 100),
    ],
)
def test_any_docker_size_is_taken(size: Any, expected: int) -> None:
    assert shm_bytes({"shm_size": size}, 0, HOST) == (expected, [])


@pytest.mark.parametrize(("gpu_count", "expected"), [(0, 16 * GIB), (1, 16 * GIB), (2, 32 * GIB), (8, HOST)])
@pytest.mark.parametrize("parameters", [{}, {"shm_size": ""}, {"shm_size": None}])
def test_without_a_wish_there_are_16_gib_for_each_gpu(parameters: dict[str, Any], gpu_count: int, expected: int) -> None:
    assert shm_bytes(parameters, gpu_count, HOST) == (expected, [])


def test_a_wish_beyond_the_host_is_cut_with_a_warning() -> None:
    size, warnings = shm_bytes({"shm_size": "128G"}, 1, HOST)
    assert size == HOST
    assert [warning.code for warning in warnings] == ["shm_size_clamped"]
    assert "128G" in warnings[0].message


@pytest.mark.parametrize("size", ["lots", "-1G", "0", 0, -5, True, [], "1X", "1G1G", "9" * 400, "१G", float("nan"), float("inf")])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ParameterError, match="is not a size"):
        shm_bytes({"shm_size": size}, 0, HOST)

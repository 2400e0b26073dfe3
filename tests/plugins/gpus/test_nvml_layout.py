"""How close cards are to each other, and what is remembered of a host."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from plugins.gpus.nvml import NvmlSource
from plugins.gpus.nvml_layout import MAX_AGE_S, Layout, RememberedLayout
from tests.conformance.gpu_source import card

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld

LOST, NOT_SUPPORTED = 15, 3


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    nvml_world.set_cards([card(index) for index in range(4)])
    return nvml_world


def pairs(*indexes: int) -> set[tuple[str, str]]:
    return {(f"GPU-{one}", f"GPU-{other}") for one, other in combinations(indexes, 2)}


def test_a_lost_card_leaves_out_its_own_pairs_only(source: NvmlSource, world: NvmlWorld) -> None:
    """A8."""
    world.card("GPU-1").is_lost = True
    world.write()
    snapshot = source.snapshot()
    assert set(snapshot.topology) == pairs(0, 2, 3)
    assert [gpu.error_code for gpu in snapshot.gpus] == ["", "lost", "", ""]


@pytest.mark.parametrize("code", [LOST, NOT_SUPPORTED, 999])
def test_cards_are_read_where_their_topology_cannot_be(source: NvmlSource, world: NvmlWorld, code: int) -> None:
    """A8."""
    world.card("GPU-1").errors = dict.fromkeys(("nvmlDeviceGetTopologyCommonAncestor", "nvmlDeviceGetNvLinkState"), code)
    world.write()
    snapshot = source.snapshot()
    assert set(snapshot.topology) == {("GPU-0", "GPU-1"), *pairs(0, 2, 3)}  # the pair can be read from its other card
    assert not any(gpu.error for gpu in snapshot.gpus)


def test_links_through_switches_connect_all_that_have_them(source: NvmlSource, world: NvmlWorld) -> None:
    world.switch_links = {"GPU-0": 18, "GPU-1": 18, "GPU-2": 12}
    world.write()
    assert source.snapshot().nvlinks == {("GPU-0", "GPU-1"): 18, ("GPU-0", "GPU-2"): 12, ("GPU-1", "GPU-2"): 12}


def test_links_from_card_to_card_are_counted_by_pair(source: NvmlSource, world: NvmlWorld) -> None:
    world.links = {("GPU-3", "GPU-0"): 4, ("GPU-1", "GPU-2"): 2}
    world.write()
    assert source.snapshot().nvlinks == {("GPU-0", "GPU-3"): 4, ("GPU-1", "GPU-2"): 2}


def test_names_are_remembered_while_the_same_cards_answer(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world.card("GPU-0").name = "Another"
    world.write()
    assert source.snapshot().gpus[0].name == "Card"
    world.card("GPU-3").is_lost = True
    world.write()
    assert source.snapshot().gpus[0].name == "Another"


class Counter:
    """Counts readings; the clock is set by hand."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 1000.0
        self.layout = RememberedLayout(self._read, lambda: self.now)

    def _read(self, handles: Mapping[str, Any]) -> Layout:
        self.count += 1
        return Layout(driver=str(self.count))


def test_a_layout_is_read_again_after_a_minute() -> None:
    counter = Counter()
    assert [counter.layout.of({"a": 1}).driver for _ in range(3)] == ["1", "1", "1"]
    counter.now += MAX_AGE_S
    assert [counter.layout.of({"a": 1}).driver for _ in range(2)] == ["2", "2"]


def test_a_layout_is_read_again_for_other_cards_or_another_order_but_not_for_other_handles() -> None:
    counter = Counter()
    for handles in ({}, {"a": 1}, {"a": 2}, {"a": 1, "b": 2}, {"b": 2, "a": 1}):
        counter.layout.of(handles)
    assert counter.count == 4

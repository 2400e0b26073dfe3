"""Xid errors come through a second thread of the probe, whatever else the driver does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import GpuSourceError
from plugins.gpus.nvml import NvmlSource
from tests.conformance.gpu_source import card, next_events

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    nvml_world.set_cards([card(0), card(1)])
    return nvml_world


@pytest.mark.parametrize("xid", [13, 94, 79, 119, 999])
def test_an_xid_of_a_card_is_told(source: NvmlSource, world: NvmlWorld, xid: int) -> None:
    """A15."""
    source.snapshot()
    world.add_xid("GPU-1", xid)
    (event,) = next_events(source, 1)
    assert (event.uuid, event.xid, event.gpu_instance) == ("GPU-1", xid, None)


def test_a_card_that_is_lost_with_its_xid_is_named_and_the_others_are_heard_on(source: NvmlSource, world: NvmlWorld) -> None:
    """A15: a lost card does not tell its uuid, and makes the driver's wait fail."""
    source.snapshot()
    world.card("GPU-1").is_lost = True
    world.add_xid("GPU-1", 79)
    assert [(event.uuid, event.xid) for event in next_events(source, 1)] == [("GPU-1", 79)]
    assert source.snapshot().events_monitored
    world.add_xid("GPU-0", 94)
    assert [(event.uuid, event.xid) for event in next_events(source, 1)] == [("GPU-0", 94)]


def test_a_card_that_comes_back_or_comes_new_is_heard(source: NvmlSource, world: NvmlWorld) -> None:
    world.card("GPU-1").is_lost = True
    world.write()
    source.snapshot()
    world.card("GPU-1").is_lost = False
    world.add_card("GPU-2")
    world.write()
    assert source.snapshot().events_monitored
    world.add_xid("GPU-1", 13)
    world.add_xid("GPU-2", 31)
    assert [(event.uuid, event.xid) for event in next_events(source, 2)] == [("GPU-1", 13), ("GPU-2", 31)]


def test_an_event_that_is_no_xid_is_not_told(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world._events.append("event 1 GPU-0 1 4711")  # one bit of memory was mended
    world.add_xid("GPU-0", 13)
    assert [event.xid for event in next_events(source, 1)] == [13]


def test_events_that_come_during_a_reading_are_not_lost(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world.delays_ms = {"nvmlDeviceGetCount_v2": 500}
    world.add_xid("GPU-0", 13)
    source.snapshot()
    assert [event.xid for event in next_events(source, 1)] == [13]


def test_events_before_a_hang_are_not_lost_with_the_probe(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world.delays_ms = {"nvmlDeviceGetCount_v2": 60_000}
    world.add_xid("GPU-0", 119)
    with pytest.raises(GpuSourceError):
        source.snapshot(timeout_s=2.0)
    assert [event.xid for event in source.events()] == [119]


def test_a_fresh_probe_hears_what_happens_from_then_on(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world.add_xid("GPU-0", 13)
    first = next_events(source, 1)
    source.close()
    assert source.snapshot().events_monitored
    world.add_xid("GPU-0", 31)
    second = next_events(source, 1)
    assert [event.xid for event in (*first, *second)] == [13, 31]
    assert second[0].sequence > first[0].sequence


def test_a_card_that_cannot_report_leaves_the_host_unmonitored_and_the_other_heard(source: NvmlSource, world: NvmlWorld) -> None:
    world.card("GPU-0").reports_events = False
    world.write()
    assert not source.snapshot().events_monitored
    world.add_xid("GPU-1", 79)
    assert [event.uuid for event in next_events(source, 1)] == ["GPU-1"]


@pytest.mark.parametrize("function", ["nvmlEventSetCreate", "nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents"])
def test_a_driver_that_does_not_allow_events_is_read_all_the_same_and_asked_again(
    source: NvmlSource, world: NvmlWorld, function: str
) -> None:
    world.errors = {function: 3}
    world.write()
    snapshot = source.snapshot()
    assert (len(snapshot.gpus), snapshot.events_monitored, source.events()) == (2, False, [])
    world.errors = {}
    world.write()
    assert source.snapshot().events_monitored
    world.add_xid("GPU-1", 79)
    assert [event.xid for event in next_events(source, 1)] == [79]


def test_a_wait_that_fails_for_a_while_is_taken_up_again(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    world.errors = {"nvmlEventSetWait_v2": 999}
    world.write()
    source.snapshot()
    world.errors = {}
    world.write()
    world.add_xid("GPU-0", 13)
    assert [event.xid for event in next_events(source, 1)] == [13]

"""What every GPU source must do. Subclass ``GpuSourceConformance`` and give it the fixtures it names.

``world`` changes what the source will see. Its methods:

- ``set_cards(devices)``: ``contracts.gpu.Gpu`` in the order of a snapshot, cards by index and each followed by its slices;
- ``set_pairs(topology, nvlinks)``: as ``contracts.gpu.Snapshot`` has them, for the cards set then or later;
- ``add_xid(uuid, xid, gpu_instance, compute_instance)``: an Xid error happens now;
- ``set_delay(seconds)``: the next readings take at least that long.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import pytest

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuEvent, GpuProcess, pair
from contracts.seams import GpuSource

GIB = 1024**3
PATIENCE_S = 30.0

Pairs = Mapping[tuple[str, str], int]


class World(Protocol):
    """The cards that the source under test will find."""

    def set_cards(self, devices: Sequence[Gpu]) -> None: ...

    def set_pairs(self, topology: Pairs, nvlinks: Pairs) -> None: ...

    def add_xid(self, uuid: str, xid: int, gpu_instance: int | None = None, compute_instance: int | None = None) -> None: ...

    def set_delay(self, seconds: float) -> None: ...


def card(index: int, **values: object) -> Gpu:
    """An idle card."""
    return Gpu(**{"uuid": f"GPU-{index}", "index": index, "name": "Card", "total_bytes": 80 * GIB, **values})  # type: ignore[arg-type]


def cut_card(index: int, slices: Sequence[Gpu]) -> list[Gpu]:
    """A card in MIG mode with these slices."""
    whole = card(index, mig_enabled=True, mig_pending=True)
    return [whole, *(replace(part, index=index, parent_uuid=whole.uuid) for part in slices)]


def mig_slice(number: int, uuid: str = "", **values: object) -> Gpu:
    """An idle seventh of a card."""
    own = {"uuid": uuid or f"MIG-{number}", "index": 0, "kind": "mig", "name": "Card", "total_bytes": 10 * GIB, "profile": "1g.10gb"}
    return Gpu(**{**own, "gpu_instance": number, "compute_instance": 0, **values})  # type: ignore[arg-type]


def next_events(source: GpuSource, count: int) -> list[GpuEvent]:
    """That many events as they come; fewer when the patience is over."""
    found, deadline = list[GpuEvent](), time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        found += source.events()
        time.sleep(0.01)
    return found


class GpuSourceConformance:
    """Inherit, and provide the fixtures ``source`` (closed at the end of the test) and ``world``."""

    def test_it_has_a_name(self, source: GpuSource) -> None:
        assert isinstance(source.name, str)
        assert source.name

    def test_a_host_without_cards_gives_an_empty_list(self, source: GpuSource, world: World) -> None:
        world.set_cards([])
        assert source.snapshot().gpus == ()

    @pytest.mark.parametrize("count", [1, 8])
    def test_every_card_is_listed_by_index_with_its_own_uuid(self, source: GpuSource, world: World, count: int) -> None:
        world.set_cards([card(index) for index in range(count)])
        gpus = source.snapshot().gpus
        assert [(gpu.index, gpu.uuid, gpu.kind) for gpu in gpus] == [(index, f"GPU-{index}", "gpu") for index in range(count)]
        assert not any(gpu.error or gpu.error_code for gpu in gpus)

    def test_a_snapshot_says_when_and_in_which_boot_it_was_taken(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        before = time.time()
        first, second = source.snapshot(), source.snapshot()
        assert before <= first.taken_at <= second.taken_at <= time.time()
        assert first.boot_id == second.boot_id != ""

    def test_memory_is_in_bytes_and_processes_have_host_pids(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0, used_bytes=3 * GIB, processes=(GpuProcess(4194000, 2 * GIB), GpuProcess(4194001, None)))])
        (gpu,) = source.snapshot().gpus
        assert (gpu.total_bytes, gpu.used_bytes) == (80 * GIB, 3 * GIB)
        assert gpu.processes is not None
        assert [(process.pid, process.used_bytes) for process in gpu.processes] == [(4194000, 2 * GIB), (4194001, None)]

    def test_processes_that_nobody_tells_are_unknown_and_not_none(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0, used_bytes=GIB, processes=None), card(1)])
        unknown, idle = source.snapshot().gpus
        assert (unknown.processes, unknown.error, unknown.used_bytes) == (None, "", GIB)
        assert idle.processes == ()

    def test_what_a_card_says_of_its_health_is_told(self, source: GpuSource, world: World) -> None:
        told = {
            "recovery_action": "drain_and_reset",
            "compute_mode": "prohibited",
            "ecc_uncorrected": 3,
            "remap_pending": True,
            "remap_failed": False,
            "retirement_pending": True,
        }
        world.set_cards([card(0, **told)])
        (gpu,) = source.snapshot().gpus
        assert {name: getattr(gpu, name) for name in told} == told

    @pytest.mark.parametrize("code", ["lost", "no_permission", "unknown"])
    def test_a_broken_card_says_so_and_the_others_go_on(self, source: GpuSource, world: World, code: str) -> None:
        world.set_cards([card(0), card(1, error="broken", error_code=code), card(2)])
        gpus = source.snapshot().gpus
        assert [gpu.error_code for gpu in gpus] == ["", code, ""]
        assert [bool(gpu.error) for gpu in gpus] == [False, True, False]
        assert len({gpu.uuid for gpu in gpus}) == 3

    def test_slices_are_devices_of_their_own_behind_their_card(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0), *cut_card(1, [mig_slice(0), mig_slice(1, used_bytes=GIB)]), card(2)])
        gpus = source.snapshot().gpus
        assert [gpu.uuid for gpu in gpus] == ["GPU-0", "GPU-1", "MIG-0", "MIG-1", "GPU-2"]
        assert (gpus[1].kind, gpus[1].mig_enabled, gpus[1].mig_pending) == ("gpu", True, True)
        found = gpus[3]
        assert (found.kind, found.parent_uuid, found.index, found.profile) == ("mig", "GPU-1", 1, "1g.10gb")
        assert (found.gpu_instance, found.compute_instance) == (1, 0)
        assert (found.total_bytes, found.used_bytes, found.processes) == (10 * GIB, GIB, ())

    def test_a_slice_that_was_remade_has_its_new_uuid(self, source: GpuSource, world: World) -> None:
        world.set_cards(cut_card(0, [mig_slice(0), mig_slice(1)]))
        source.snapshot()
        world.set_cards(cut_card(0, [mig_slice(0, "MIG-new"), mig_slice(1)]))
        assert [gpu.uuid for gpu in source.snapshot().gpus] == ["GPU-0", "MIG-new", "MIG-1"]

    def test_a_mode_that_waits_for_a_reset_is_told(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0, mig_enabled=False, mig_pending=True)])
        (gpu,) = source.snapshot().gpus
        assert (gpu.mig_enabled, gpu.mig_pending) == (False, True)

    def test_the_closeness_of_cards_is_told_for_each_pair(self, source: GpuSource, world: World) -> None:
        world.set_pairs({pair("GPU-0", "GPU-1"): 10, pair("GPU-0", "GPU-2"): 40, pair("GPU-1", "GPU-2"): 50}, {pair("GPU-0", "GPU-1"): 4})
        world.set_cards([card(2), card(1), card(0)])
        snapshot = source.snapshot()
        assert snapshot.topology == {("GPU-0", "GPU-1"): 10, ("GPU-0", "GPU-2"): 40, ("GPU-1", "GPU-2"): 50}
        assert snapshot.nvlinks == {("GPU-0", "GPU-1"): 4}

    def test_the_same_cards_keep_their_uuids_when_their_order_changes(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(index, used_bytes=index * GIB) for index in range(3)])
        source.snapshot()
        world.set_cards([card(index, used_bytes=index * GIB) for index in (2, 1, 0)])
        gpus = source.snapshot().gpus
        assert [(gpu.index, gpu.uuid, gpu.used_bytes // GIB) for gpu in gpus] == [(0, "GPU-2", 2), (1, "GPU-1", 1), (2, "GPU-0", 0)]

    def test_every_call_is_a_fresh_reading(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        assert source.snapshot().gpus[0].used_bytes == 0
        world.set_cards([card(0, used_bytes=GIB), card(1)])
        assert [gpu.used_bytes for gpu in source.snapshot().gpus] == [GIB, 0]

    def test_an_xid_error_is_told_once_with_its_card_and_slice(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0), card(1)])
        assert source.snapshot().events_monitored
        world.add_xid("GPU-1", 79)
        world.add_xid("GPU-0", 13, 2, 0)
        first, second = next_events(source, 2)
        assert (first.uuid, first.xid, first.gpu_instance, first.compute_instance) == ("GPU-1", 79, None, None)
        assert (second.uuid, second.xid, second.gpu_instance, second.compute_instance) == ("GPU-0", 13, 2, 0)
        assert source.events() == []

    def test_xid_errors_are_numbered_and_dated(self, source: GpuSource, world: World) -> None:
        before = time.time()
        world.set_cards([card(0)])
        source.snapshot()
        found = []
        for xid in (13, 94, 999):
            world.add_xid("GPU-0", xid)
            found += next_events(source, 1)
        assert [event.xid for event in found] == [13, 94, 999]
        assert [event.sequence for event in found] == sorted({event.sequence for event in found})
        assert all(before <= event.time <= time.time() for event in found)

    def test_events_are_empty_before_the_first_snapshot_and_after_close(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        assert source.events() == []
        source.snapshot()
        source.close()
        assert source.events() == []

    def test_a_reading_that_takes_too_long_is_given_up_in_time_and_the_next_one_works(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        world.set_delay(60)
        begin = time.monotonic()
        with pytest.raises(GpuSourceError) as caught:
            source.snapshot(timeout_s=1.0)
        assert time.monotonic() - begin < PATIENCE_S  # far from the minute; nothing tighter, for the machine may be busy
        assert caught.value.hint
        world.set_delay(0)
        assert len(source.snapshot(timeout_s=PATIENCE_S).gpus) == 1

    def test_it_may_be_closed_twice_and_opens_again(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        source.snapshot()
        source.close()
        source.close()
        assert len(source.snapshot().gpus) == 1

    def test_threads_may_share_it(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0), card(1)])
        with ThreadPoolExecutor(4) as threads:
            readings = list(threads.map(lambda _: source.snapshot(timeout_s=PATIENCE_S), range(12)))
        assert all([gpu.uuid for gpu in reading.gpus] == ["GPU-0", "GPU-1"] for reading in readings)

"""What every GPU source must do. Subclass ``GpuSourceConformance`` and give it the fixtures it names.

``world`` changes what the source will see: it has ``set_cards(cards)`` (``contracts.gpu.Gpu`` in the order of their index) and
``set_delay(seconds)``, after which the next reading takes at least that long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuProcess
from contracts.seams import GpuSource

GIB = 1024**3


class World(Protocol):
    """The cards that the source under test will find."""

    def set_cards(self, cards: Sequence[Gpu]) -> None: ...

    def set_delay(self, seconds: float) -> None: ...


def card(index: int, **values: object) -> Gpu:
    """An idle card."""
    return Gpu(**{"uuid": f"GPU-{index}", "index": index, "name": "Card", "total_bytes": 80 * GIB, **values})  # type: ignore[arg-type]


class GpuSourceConformance:
    """Inherit, and provide the fixtures ``source`` (closed at the end of the test) and ``world``."""

    def test_it_has_a_name(self, source: GpuSource) -> None:
        assert isinstance(source.name, str)
        assert source.name

    def test_a_host_without_cards_gives_an_empty_list(self, source: GpuSource, world: World) -> None:
        world.set_cards([])
        assert source.list_gpus() == []

    @pytest.mark.parametrize("count", [1, 8])
    def test_every_card_is_listed_by_index_with_its_own_uuid(self, source: GpuSource, world: World, count: int) -> None:
        world.set_cards([card(index) for index in range(count)])
        gpus = source.list_gpus()
        assert [gpu.index for gpu in gpus] == list(range(count))
        assert [gpu.uuid for gpu in gpus] == [f"GPU-{index}" for index in range(count)]
        assert not any(gpu.error for gpu in gpus)

    def test_memory_is_in_bytes_and_processes_have_host_pids(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0, used_bytes=3 * GIB, processes=(GpuProcess(4194000, 2 * GIB), GpuProcess(4194001, None)))])
        (gpu,) = source.list_gpus()
        assert (gpu.total_bytes, gpu.used_bytes) == (80 * GIB, 3 * GIB)
        assert [(process.pid, process.used_bytes) for process in gpu.processes] == [(4194000, 2 * GIB), (4194001, None)]

    def test_a_broken_card_says_so_and_the_others_go_on(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0), card(1, error="lost"), card(2)])
        gpus = source.list_gpus()
        assert [bool(gpu.error) for gpu in gpus] == [False, True, False]
        assert len({gpu.uuid for gpu in gpus}) == 3

    def test_every_call_is_a_fresh_reading(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        assert source.list_gpus()[0].used_bytes == 0
        world.set_cards([card(0, used_bytes=GIB), card(1)])
        assert [gpu.used_bytes for gpu in source.list_gpus()] == [GIB, 0]

    def test_a_reading_that_takes_too_long_is_given_up_in_time_and_the_next_one_works(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        world.set_delay(60)
        begin = time.monotonic()
        with pytest.raises(GpuSourceError) as caught:
            source.list_gpus(timeout_s=1.0)
        assert time.monotonic() - begin < 10  # far from the minute; nothing tighter, for the machine may be busy
        assert caught.value.hint
        world.set_delay(0)
        assert len(source.list_gpus(timeout_s=30)) == 1

    def test_it_may_be_closed_twice_and_opens_again(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0)])
        source.list_gpus()
        source.close()
        source.close()
        assert len(source.list_gpus()) == 1

    def test_threads_may_share_it(self, source: GpuSource, world: World) -> None:
        world.set_cards([card(0), card(1)])
        with ThreadPoolExecutor(4) as threads:
            readings = list(threads.map(lambda _: source.list_gpus(timeout_s=30), range(12)))
        assert all([gpu.uuid for gpu in reading] == ["GPU-0", "GPU-1"] for reading in readings)

"""The world that our stand-in for NVIDIA's library shows: cards with everything a test may want of them, written to its text file.

::

    world = World(folder / "world")
    card = world.add_card("GPU-0")
    world.write()
    card.is_lost = True
    world.write()

The grammar of the file stands at the top of ``fake_nvml.c``. Bytes are bytes; codes are NVML's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB, GIB = 1024**2, 1024**3
XID = 8


@dataclass
class Process:
    """``kind`` is C(ompute), G(raphics) or M(PS); ``used_bytes`` None: the driver does not say. On a slice when the instances are its."""

    pid: int
    used_bytes: int | None = GIB
    kind: str = "C"
    gpu_instance: int | None = None
    compute_instance: int | None = None

    def line(self) -> str:
        where = [] if self.gpu_instance is None else [self.gpu_instance, self.compute_instance or 0]
        return _words("proc", self.kind, self.pid, -1 if self.used_bytes is None else self.used_bytes, *where)


@dataclass
class Slice:
    """A MIG slice; ``slices`` is how many sevenths of the card it is. The uuid ``-`` leaves its number empty, as a destroyed one does."""

    uuid: str
    gpu_instance: int = 0
    compute_instance: int = 0
    slices: int = 1
    total_bytes: int = 10 * GIB
    used_bytes: int = 0

    def line(self) -> str:
        return _words("migdev", self.uuid, self.gpu_instance, self.compute_instance, self.slices, self.total_bytes, self.used_bytes)


@dataclass
class Card:
    """``mig`` is (current, pending), None for a card that cannot be cut. ``errors`` are the codes that functions answer for this card, ``*`` all."""

    uuid: str
    bus: str
    name: str = "Fake GPU"
    total_bytes: int = 80 * GIB
    used_bytes: int = 0
    reserved_bytes: int = 600 * MIB
    utilization_percent: int = 0
    temperature_c: int = 30
    power_mw: int = 60_000
    numa_node: int = -1
    compute_capability: tuple[int, int] = (9, 0)
    compute_mode: int = 0
    recovery_action: int = 0
    ecc_uncorrected: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    retired_pending: bool = False
    mig: tuple[int, int] | None = None
    reports_events: bool = True
    is_lost: bool = False
    processes: list[Process] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    def add_process(self, pid: int, used_bytes: int | None = GIB, **values: Any) -> Process:
        self.processes.append(Process(pid, used_bytes, **values))
        return self.processes[-1]

    def add_slice(self, uuid: str, **values: Any) -> Slice:
        """Its GPU instance is the next number unless it is given. The card is in MIG mode from now on."""
        self.mig = self.mig or (1, 1)
        self.slices.append(Slice(uuid, **{"gpu_instance": len(self.slices), **values}))
        return self.slices[-1]

    def lines(self) -> Iterator[str]:
        yield f"gpu {self.uuid}"
        yield f"name {self.name}"
        yield f"bus {self.bus}"
        yield _words("mem", self.total_bytes, self.used_bytes, self.reserved_bytes)
        yield _words("cc", *self.compute_capability)
        yield _words("remap", int(self.remap_pending), int(self.remap_failed))
        yield from (_words(key, value) for key, value in self._numbers().items())
        if self.mig:
            yield _words("mig", *self.mig)
        yield from (part.line() for part in (*self.slices, *self.processes))
        yield from (_words("err", function, code) for function, code in self.errors.items())

    def _numbers(self) -> dict[str, int]:
        return {
            "util": self.utilization_percent,
            "temp": self.temperature_c,
            "power": self.power_mw,
            "numa": self.numa_node,
            "mode": self.compute_mode,
            "recovery": self.recovery_action,
            "ecc": self.ecc_uncorrected,
            "retired_pending": int(self.retired_pending),
            "events": int(self.reports_events),
            "lost": int(self.is_lost),
        }


class World:
    """``cards`` by index; reorder them as the driver may. Nothing is seen before ``write``.

    ``topology`` holds a level, ``links`` how many NVLinks, for pairs of uuids; ``switch_links`` how many of a card go to a switch. ``errors``,
    ``delays_ms``, ``crashing`` and ``saying`` are about functions, whatever the card; ``*`` is all of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.driver = ""
        self.init_code = 0
        self.cards: list[Card] = []
        self.topology: dict[tuple[str, str], int] = {}
        self.links: dict[tuple[str, str], int] = {}
        self.switch_links: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.delays_ms: dict[str, int] = {}
        self.crashing: list[str] = []
        self.saying: list[str] = []
        self._events: list[str] = []

    def add_card(self, uuid: str, **values: Any) -> Card:
        self.cards.append(Card(uuid, **{"bus": f"00000000:{0x18 + 8 * len(self.cards):02X}:00.0", **values}))
        return self.cards[-1]

    def card(self, uuid: str) -> Card:
        return next(card for card in self.cards if card.uuid == uuid)

    def add_xid(self, uuid: str, xid: int, gpu_instance: int | None = None, compute_instance: int | None = None) -> None:
        """It happens when the world is written, once."""
        where = [] if gpu_instance is None else [gpu_instance, compute_instance or 0]
        self._events.append(_words("event", len(self._events) + 1, uuid, XID, xid, *where))

    def occupy(self, uuid: str, pid: int, used_bytes: int = GIB) -> None:
        """A compute process on a card or slice at once, for as long as it lives: what a container hook does. No ``write`` is needed."""
        with Path(f"{self.path}.procs").open("a", encoding="ascii") as file:
            file.write(f"{uuid} {pid} {used_bytes}\n")

    def write(self) -> World:
        """Written aside and renamed, so that nobody sees half of it."""
        aside = Path(f"{self.path}.aside")
        aside.write_text("\n".join([*self._lines(), ""]), encoding="utf-8")
        os.replace(aside, self.path)  # noqa: PTH105 - says that it is atomic
        return self

    def _lines(self) -> Iterator[str]:
        if self.driver:
            yield f"driver {self.driver}"
        yield f"init {self.init_code}"
        yield from (_words("err", function, code) for function, code in self.errors.items())
        yield from (_words("delay", function, delay) for function, delay in self.delays_ms.items())
        yield from (_words("crash", function) for function in self.crashing)
        yield from (_words("say", function) for function in self.saying)
        yield from self._events
        yield from self._pair_lines()
        for card in self.cards:
            yield from card.lines()

    def _pair_lines(self) -> Iterator[str]:
        """Cards that are not there have no pairs."""
        index = {card.uuid: number for number, card in enumerate(self.cards)}
        for (one, other), level in self.topology.items():
            if one in index and other in index:
                yield _words("topo", index[one], index[other], level)
        used = dict.fromkeys(index, 0)
        both_ways = [(*pair, count) for (one, other), count in self.links.items() for pair in ((one, other), (other, one))]
        for one, other, count in [*both_ways, *((uuid, "", count) for uuid, count in self.switch_links.items())]:
            for number in range(count if one in index and (not other or other in index) else 0):
                yield _words("nvlink", index[one], used[one] + number, index.get(other, -1))
            used[one] = used.get(one, 0) + count


def _words(*parts: object) -> str:
    return " ".join(map(str, parts))

"""Cards that exist only in a JSON file: for tests, demonstrations and machines without GPUs.

Chosen with ``SLUICE_GPUS=fake``. ``SLUICE_FAKE_GPUS`` names the file. It is a list with one object for each card, or an object with more than cards;
everything but ``uuid`` may be left out::

    {"cards": [{"uuid": "GPU-0", "name": "Fake GPU", "total_bytes": 85899345920, "used_bytes": 0, "delay_s": 0,
                "processes": [{"pid": 4711, "used_bytes": 1048576, "command": "python"}], "error": "", "error_code": "",
                "slices": [{"uuid": "MIG-0", "profile": "1g.10gb", "total_bytes": 10737418240}]},
               {"uuid": "GPU-1"}],
     "pairs": [{"uuids": ["GPU-0", "GPU-1"], "level": 10, "nvlinks": 4}],
     "events": [{"uuid": "GPU-0", "xid": 79}],
     "events_monitored": true, "boot_id": "", "driver": "fake"}

A card and a slice may have every other field of ``contracts.gpu.Gpu`` too; ``processes`` null is a driver that does not tell. ``delay_s`` is how long the
card takes to answer. An event happens when it is added behind the others; what stood there when the source opened is over. The file is read at every
call, so that the world can change; without it there are two idle cards.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuEvent, GpuProcess, Snapshot, pair
from contracts.seams import GpuSource
from plugins.gpus.boot import boot_id

FILE_VARIABLE = "SLUICE_FAKE_GPUS"
_GIB = 1024**3


class FakeSource(GpuSource):
    """Cards as the file says, in its order. It opens with the first call and after ``close``."""

    name: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: int | None = None  # so many of the file's events are over; None until it opened
        self._sequence = 0

    def snapshot(self, timeout_s: float = 5.0) -> Snapshot:
        taken_at, world = time.time(), _read_world()
        with self._lock:
            self._open(world)
        _wait(sum(card.delay_s for card in world.cards), timeout_s)
        return world.snapshot(taken_at)

    def events(self) -> list[GpuEvent]:
        try:
            world = _read_world()
        except GpuSourceError:
            return []  # the snapshot says what is wrong
        with self._lock:
            told = self._open(world)
            self._told = len(world.events)
            return [self._event(event) for event in world.events[told:]] if world.settings.events_monitored else []

    def close(self) -> None:
        """Nothing is kept open."""
        self._told = None

    def _open(self, world: _World) -> int:
        if self._told is None:
            self._told = len(world.events)
        return self._told

    def _event(self, event: _Event) -> GpuEvent:
        self._sequence += 1
        return GpuEvent(sequence=self._sequence, time=time.time(), **event.model_dump())


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Process(_Strict):
    pid: int = Field(gt=0)
    used_bytes: int | None = Field(default=None, ge=0)
    command: str = ""


class _Device(_Strict):
    uuid: str = Field(min_length=1)
    total_bytes: int = Field(default=80 * _GIB, ge=0)
    used_bytes: int = Field(default=0, ge=0)
    reserved_bytes: int = Field(default=0, ge=0)
    utilization_fraction: float | None = Field(default=None, ge=0, le=1)
    processes: list[_Process] | None = []
    error: str = ""
    error_code: Literal["", "lost", "no_permission", "unknown"] = ""
    compute_mode: Literal["default", "exclusive_process", "prohibited"] = "default"

    def values(self) -> dict[str, Any]:
        """The arguments of ``Gpu`` that both kinds of device have."""
        listed = None if self.processes is None else tuple(GpuProcess(**process.model_dump()) for process in self.processes)
        code = self.error_code or ("unknown" if self.error else "")
        shown = self.model_dump(exclude={"processes", "error", "error_code", "slices", "delay_s"})
        return {**shown, "processes": listed, "error": self.error or code, "error_code": code}


class _Slice(_Device):
    total_bytes: int = Field(default=10 * _GIB, ge=0)
    profile: str = "1g.10gb"
    gpu_instance: int | None = None
    compute_instance: int = 0


class _Card(_Device):
    name: str = "Fake GPU"
    temperature_c: int | None = None
    power_w: float | None = None
    pci: str = ""
    numa_node: int | None = None
    compute_capability: str = ""
    mig_enabled: bool | None = None
    mig_pending: bool | None = None
    recovery_action: str = ""
    ecc_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    retirement_pending: bool | None = None
    slices: list[_Slice] = []
    delay_s: float = Field(default=0, ge=0)

    def gpus(self, index: int) -> list[Gpu]:
        """The card, then its slices; a broken card does not tell of any."""
        card = Gpu(**self._with_mode(), index=index)
        return [card, *(self._slice(part, card, number) for number, part in enumerate(self.slices) if not card.error)]

    def _with_mode(self) -> dict[str, Any]:
        values = self.values()
        enabled = bool(self.slices) or None if self.mig_enabled is None else self.mig_enabled
        pending = enabled if self.mig_pending is None else self.mig_pending
        return {**values, "mig_enabled": enabled, "mig_pending": pending}

    def _slice(self, part: _Slice, card: Gpu, number: int) -> Gpu:
        values = part.values()
        values["gpu_instance"] = number if part.gpu_instance is None else part.gpu_instance
        of_card = {name: getattr(card, name) for name in ("index", "name", "pci", "numa_node", "compute_capability")}
        return Gpu(**values, **of_card, kind="mig", parent_uuid=card.uuid)


class _Pair(_Strict):
    uuids: list[str] = Field(min_length=2, max_length=2)
    level: Literal[0, 10, 20, 30, 40, 50] | None = None
    nvlinks: int = Field(default=0, ge=0)


class _Event(_Strict):
    uuid: str = Field(min_length=1)
    xid: int = Field(ge=0)
    gpu_instance: int | None = None
    compute_instance: int | None = None


class _Settings(_Strict):
    events_monitored: bool = True
    boot_id: str = ""
    driver: str = "fake"


@dataclass
class _World:
    """What the file says."""

    cards: list[_Card] = field(default_factory=list)
    pairs: list[_Pair] = field(default_factory=list)
    events: list[_Event] = field(default_factory=list)
    settings: _Settings = field(default_factory=_Settings)

    def snapshot(self, taken_at: float) -> Snapshot:
        gpus = [gpu for index, card in enumerate(self.cards) for gpu in card.gpus(index)]
        pairs = {pair(*found.uuids): found for found in self.pairs}
        return Snapshot(
            gpus=tuple(gpus),
            taken_at=taken_at,
            boot_id=self.settings.boot_id or boot_id(),
            driver=self.settings.driver,
            topology={key: found.level for key, found in pairs.items() if found.level is not None},
            nvlinks={key: found.nvlinks for key, found in pairs.items() if found.nvlinks},
            events_monitored=self.settings.events_monitored,
        )

    def uuids(self) -> list[str]:
        return [device.uuid for card in self.cards for device in (card, *card.slices)]


# ---------------------------------------------------------------------------------------------------------------- the file

_Model = TypeVar("_Model", bound=_Strict)
_LISTS: dict[str, type[_Strict]] = {"cards": _Card, "pairs": _Pair, "events": _Event}


def _read_world() -> _World:
    file = os.environ.get(FILE_VARIABLE)
    if not file:
        return _World(cards=[_Card(uuid="GPU-fake-0"), _Card(uuid="GPU-fake-1")])
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GpuSourceError(f"the cards in {file} cannot be read: {error}", hint=f"Correct {FILE_VARIABLE}, or unset it.") from error
    try:
        return _parse(text)
    except json.JSONDecodeError as error:
        raise GpuSourceError(
            f"{file}, line {error.lineno}: {error.msg}", hint="What it may say: see plugins/gpus/fake.py.", line=error.lineno
        ) from error


def _parse(text: str) -> _World:
    """The file's content, each part checked. Raises ``JSONDecodeError``, which knows the line, also for what is no world."""
    whole = json.loads(text)
    if not isinstance(whole, list | dict):
        raise json.JSONDecodeError("neither a list of cards nor an object with them", text, 0)
    world = _World()
    if isinstance(whole, list):
        _add_list(world, "cards", text, _after(r"\s*", text, 0))
        return world
    for name, place in _members(text):
        if name in _LISTS:
            _add_list(world, name, text, place)
        else:
            settings = {**world.settings.model_dump(), name: whole[name]}
            world.settings = _checked(_Settings, settings, text, place)
    return world


def _add_list(world: _World, name: str, text: str, start: int) -> None:
    for place, value in _elements(text, start):
        found = _checked(_LISTS[name], value, text, place)
        getattr(world, name).append(found)
        if isinstance(found, _Card) and len(set(world.uuids())) < len(world.uuids()):
            raise json.JSONDecodeError(f"a uuid of the card {found.uuid!r} stands there twice", text, place)


def _members(text: str) -> Iterator[tuple[str, int]]:
    """The names in a JSON object with the place where each one's value begins, which json.loads does not tell."""
    decoder, place = json.JSONDecoder(), _after(r"\s*\{\s*", text, 0)
    while text[place] != "}":
        name, end = decoder.raw_decode(text, place)
        place = _after(r"\s*:\s*", text, end)
        yield name, place
        place = _after(r"\s*,?\s*", text, decoder.raw_decode(text, place)[1])


def _elements(text: str, start: int) -> Iterator[tuple[int, Any]]:
    """The elements of the JSON list that begins there, each with its place."""
    if text[start] != "[":
        raise json.JSONDecodeError("not a list", text, start)
    decoder, place = json.JSONDecoder(), _after(r"\[\s*", text, start)
    while text[place] != "]":
        value, end = decoder.raw_decode(text, place)
        yield place, value
        place = _after(r"\s*,?\s*", text, end)


def _after(pattern: str, text: str, place: int) -> int:
    found = re.compile(pattern).match(text, place)
    return found.end() if found else place


def _checked(model: type[_Model], value: Any, text: str, start: int) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or model.__name__.strip("_").lower()
        raise json.JSONDecodeError(f"{where}: {first['msg']}", text, start) from error


def _wait(delay_s: float, timeout_s: float) -> None:
    time.sleep(min(delay_s, timeout_s))
    if delay_s > timeout_s:
        raise GpuSourceError(
            f"the fake GPUs did not answer within {timeout_s:g} s", hint="Lower delay_s in their file.", timeout_s=timeout_s
        )

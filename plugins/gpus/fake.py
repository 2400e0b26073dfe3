"""Cards that exist only in a JSON file: for tests, demonstrations and machines without GPUs.

Chosen with ``SLUICE_GPUS=fake``. ``SLUICE_FAKE_GPUS`` names the file, a list with one object for each card; all but ``uuid`` may be left out::

    [{"uuid": "GPU-0", "name": "Fake GPU", "total_bytes": 85899345920, "used_bytes": 0,
      "processes": [{"pid": 4711, "used_bytes": 1048576, "command": "python"}], "error": "", "delay_s": 0}]

``delay_s`` is how long the card takes to answer. The file is read at every call, so that the world can change; without it there are two idle cards.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.errors import GpuSourceError
from contracts.gpu import Gpu, GpuProcess
from contracts.seams import GpuSource

FILE_VARIABLE = "SLUICE_FAKE_GPUS"
_TOTAL_BYTES = 80 * 1024**3


class FakeSource(GpuSource):
    """Cards as the file says, in its order."""

    name: ClassVar[str] = "fake"

    def list_gpus(self, timeout_s: float = 5.0) -> list[Gpu]:
        cards = _read_cards()
        _wait(sum(card.delay_s for card in cards), timeout_s)
        return [card.gpu(index) for index, card in enumerate(cards)]

    def close(self) -> None:
        """Nothing is kept open."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Process(_Strict):
    pid: int = Field(gt=0)
    used_bytes: int | None = Field(default=None, ge=0)
    command: str = ""


class _Card(_Strict):
    uuid: str = Field(min_length=1)
    name: str = "Fake GPU"
    total_bytes: int = Field(default=_TOTAL_BYTES, ge=0)
    used_bytes: int = Field(default=0, ge=0)
    utilization_fraction: float | None = Field(default=None, ge=0, le=1)
    temperature_c: int | None = None
    processes: list[_Process] = []
    error: str = ""
    delay_s: float = Field(default=0, ge=0)

    def gpu(self, index: int) -> Gpu:
        values = self.model_dump(exclude={"processes", "delay_s"})
        return Gpu(**values, index=index, processes=tuple(GpuProcess(**process.model_dump()) for process in self.processes))


def _read_cards() -> list[_Card]:
    file = os.environ.get(FILE_VARIABLE)
    if not file:
        return [_Card(uuid="GPU-fake-0"), _Card(uuid="GPU-fake-1")]
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GpuSourceError(f"the cards in {file} cannot be read: {error}", hint=f"Correct {FILE_VARIABLE}, or unset it.") from error
    return _parse(text, file)


def _parse(text: str, file: str) -> list[_Card]:
    """The cards, each checked. Raises ``GpuSourceError`` with file and line."""
    cards: dict[str, _Card] = {}
    try:
        for start, value in _elements(text):
            card = _checked(value, text, start)
            if card.uuid in cards:
                raise json.JSONDecodeError(f"the uuid {card.uuid!r} stands there twice", text, start)
            cards[card.uuid] = card
    except json.JSONDecodeError as error:
        raise GpuSourceError(
            f"{file}, line {error.lineno}: {error.msg}", hint="It is a list of cards: see plugins/gpus/fake.py.", line=error.lineno
        ) from error
    return list(cards.values())


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list with the place where each begins, which json.loads does not tell."""
    if not isinstance(json.loads(text), list):
        raise json.JSONDecodeError("not a list", text, 0)
    decoder, place = json.JSONDecoder(), _after(r"\s*\[\s*", text, 0)
    while text[place] != "]":
        value, end = decoder.raw_decode(text, place)
        yield place, value
        place = _after(r"\s*,?\s*", text, end)


def _after(pattern: str, text: str, place: int) -> int:
    found = re.compile(pattern).match(text, place)
    return found.end() if found else place


def _checked(value: Any, text: str, start: int) -> _Card:
    try:
        return _Card.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "card"
        raise json.JSONDecodeError(f"{where}: {first['msg']}", text, start) from error


def _wait(delay_s: float, timeout_s: float) -> None:
    time.sleep(min(delay_s, timeout_s))
    if delay_s > timeout_s:
        raise GpuSourceError(
            f"the fake GPUs did not answer within {timeout_s:g} s", hint="Lower delay_s in their file.", timeout_s=timeout_s
        )

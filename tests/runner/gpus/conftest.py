"""A host whose three books a test can write: a real registry, the fake source's file, and the containers' claims."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EngineGoneError
from plugins.gpus.fake import FakeSource
from registry.database import Database
from runner.gpus import GpuPool

_numbers = itertools.count()


class Host:
    """The world of one pool. ``cards`` are the fake source's; ``claims`` what containers were given; ``engine_away`` silences the engine.

    ``before_reading`` holds what happens just before a reading of the claims, first in first out: the way to be between two looks.
    """

    def __init__(self, database: Database, file: Path, count: int = 4) -> None:
        self.name = f"host-{next(_numbers)}"
        self.cards: list[dict[str, Any]] = [{"uuid": f"GPU-{index}"} for index in range(count)]
        self.claims: dict[str, str] = {}
        self.engine_away = False
        self.before_reading: list[Callable[[], object]] = []
        self.database = database
        self._file = file
        self.pool = GpuPool(source=FakeSource(), claims=self._read_claims, database=database, host=self.name)
        self.write()

    def write(self) -> None:
        aside = self._file.with_suffix(".aside")
        aside.write_text(json.dumps(self.cards))
        aside.replace(self._file)
        os.environ["SLUICE_FAKE_GPUS"] = str(self._file)

    def set_card(self, index: int, **values: Any) -> None:
        self.cards[index] = {"uuid": f"GPU-{index}", **values}
        self.write()

    def states(self) -> list[str]:
        return [card["state"] for card in self.pool.list_gpus()]

    def _read_claims(self) -> dict[str, str]:
        if self.before_reading:
            self.before_reading.pop(0)()
        if self.engine_away:
            raise EngineGoneError("the engine does not answer", hint="Start it.")
        return dict(self.claims)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "sluice.db") as database:
        yield database


@pytest.fixture
def host(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", "")  # so that what the host sets is undone
    return Host(database, tmp_path / "cards.json")

"""Hosts whose three books a test can write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.database import Database
from tests.runner.gpus.world import Host


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "sluice.db") as database:
        yield database


@pytest.fixture
def host(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", "")  # so that what the host sets is undone
    return Host(database, tmp_path)


@pytest.fixture
def hosts(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Host]:
    """Hosts with any number of cards."""
    monkeypatch.setenv("SLUICE_FAKE_GPUS", "")
    return lambda count: Host(database, tmp_path, count)

"""Writes that share a transaction: all durable, and one that fails undoes only itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, UnavailableError
from registry.database import Database
from registry.tables import DatasetRow, now
from registry.together import Together


def _add(name: str, fail: bool = False):
    def action(session: Session) -> str:
        session.add(DatasetRow(name=name, created_at=now()))
        session.flush()
        if fail:
            raise ConflictError(f"{name} is not wanted")
        return name

    return action


def _names(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(DatasetRow.name)))


def test_many_threads_write_and_everything_is_there(tmp_path: Path) -> None:
    with Database.open(tmp_path / "db.sqlite") as database, ThreadPoolExecutor(16) as threads:
        written = list(threads.map(lambda number: database.write(_add(f"d{number}")), range(200)))
        assert _names(database) == set(written)


def test_a_write_that_fails_undoes_itself_and_no_other(tmp_path: Path) -> None:
    with Database.open(tmp_path / "db.sqlite") as database, ThreadPoolExecutor(16) as threads:
        futures = [threads.submit(database.write, _add(f"d{number}", fail=number % 3 == 0)) for number in range(60)]
        failed = {number for number, future in enumerate(futures) if isinstance(future.exception(), ConflictError)}
        assert failed == set(range(0, 60, 3))
        assert _names(database) == {f"d{number}" for number in range(60) if number % 3}


def test_a_commit_that_fails_is_everybodys_error(tmp_path: Path) -> None:
    gate, begun = threading.Event(), threading.Event()

    class Broken:
        def __enter__(self) -> Session:
            begun.set()
            gate.wait(10)
            return Session()

        def __exit__(self, *exc_info: object) -> None:
            raise UnavailableError("the disk is full")

    together = Together(Broken)
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(together.write, lambda session: None) for _ in range(4)]
        begun.wait(10)
        gate.set()
        for future in futures:
            with pytest.raises(UnavailableError):
                future.result()

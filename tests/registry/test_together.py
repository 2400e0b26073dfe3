"""Writes that share a transaction: all durable, and one that fails undoes only itself."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
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


class _Gate:
    """A transaction that waits until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Semaphore(0), threading.Semaphore(0)

    def __enter__(self) -> Session:
        self.begun.release()
        assert self.may_end.acquire(timeout=20)
        return Session()

    def __exit__(self, *exc_info: object) -> None:
        pass


def test_what_comes_while_another_writes_goes_into_one_transaction() -> None:
    gate = _Gate()
    together = Together(lambda: gate)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(together.write, lambda _: 0)
        assert gate.begun.acquire(timeout=20)
        others = [threads.submit(together.write, lambda _, number=number: number) for number in range(1, 9)]
        _wait_for(lambda: len(together._waiting) == 8)
        gate.may_end.release(2)
        assert [future.result(20) for future in (first, *others)] == list(range(9))
    assert not gate.may_end.acquire(blocking=False)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests were started in the background of a shell, which ignores it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("ctrl_c")
def test_a_caller_that_is_interrupted_while_it_waits_keeps_nobody() -> None:
    gate = _Gate()
    together = Together(lambda: gate)

    left = threading.Event()

    def interrupt() -> None:
        """Until it is noticed: a signal in the moment before a thread begins to wait does not end the wait."""
        _wait_for(lambda: len(together._waiting) == 1)
        while not left.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            left.wait(1.0)

    def write_and_leave() -> None:
        try:
            together.write(lambda _: "never")
        finally:
            left.set()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(together.write, lambda _: "first")
        assert gate.begun.acquire(timeout=20)
        threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_and_leave()
        gate.may_end.release(3)  # one of them for what was asked for and then left, when it was on its way already
        assert first.result(20) == "first"
        assert together.write(lambda _: "next") == "next"


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)

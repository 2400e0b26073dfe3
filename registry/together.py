"""Small writes of many threads in one transaction: as durable as alone, at the price of one flush to the disk for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

Value = TypeVar("Value")
_MOST = 256


class _Write(Generic[Value]):
    """One caller's write: what it does, and what came of it once ``done``."""

    def __init__(self, action: Callable[[Session], Value]) -> None:
        self.action = action
        self.done = False
        self.value: Value | None = None
        self.error: BaseException | None = None


class Together:
    """The caller that gets the turn writes for everybody who waits; ``writing`` opens a transaction that commits when its block ends."""

    def __init__(self, writing: Callable[[], AbstractContextManager[Session]]) -> None:
        self._writing = writing
        self._turn = threading.Lock()
        self._list = threading.Lock()
        self._waiting: list[_Write[Any]] = []

    def write(self, action: Callable[[Session], Value]) -> Value:
        """What ``action`` returned, once it is durable. What it raises is raised here, undoes its own changes and nobody else's."""
        mine = _Write(action)
        with self._list:
            self._waiting.append(mine)
        with self._turn:
            while not mine.done:
                self._write_all(self._take())
        if mine.error is not None:
            raise mine.error
        return mine.value  # type: ignore[return-value]

    def _take(self) -> list[_Write[Any]]:
        with self._list:
            taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        return taken

    def _write_all(self, writes: list[_Write[Any]]) -> None:
        try:
            with self._writing() as session:
                for write in writes:
                    _apply(write, session, alone=len(writes) == 1)
        except BaseException as error:
            for write in writes:
                write.error = write.error or error
        finally:
            for write in writes:
                write.done = True


def _apply(write: _Write[Any], session: Session, *, alone: bool) -> None:
    """Alone its error ends the transaction; with others it only goes back to where it began."""
    if alone:
        write.value = write.action(session)
        return
    try:
        with session.begin_nested():
            write.value = write.action(session)
    except Exception as error:
        write.error = error

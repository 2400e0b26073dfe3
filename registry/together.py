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
    """One caller's write: what it does, and what came of it once ``done``. ``woken`` opens when it is done, or its caller's turn (``leads``)."""

    def __init__(self, action: Callable[[Session], Value]) -> None:
        self.action = action
        self.done = False
        self.leads = False
        self.value: Value | None = None
        self.error: BaseException | None = None
        self.woken = threading.Lock()
        self.woken.acquire()


class Together:
    """The caller that has the turn writes for everybody who waits; ``writing`` opens a transaction that commits when its block ends.

    Whose write is done goes on at once; the turn passes to the first of those that came meanwhile.
    """

    def __init__(self, writing: Callable[[], AbstractContextManager[Session]]) -> None:
        self._writing = writing
        self._list = threading.Lock()
        self._waiting: list[_Write[Any]] = []
        self._taken = False

    def write(self, action: Callable[[Session], Value]) -> Value:
        """What ``action`` returned, once it is durable. What it raises is raised here, undoes its own changes and nobody else's.

        It may be called twice, the first time with everything undone: it is to do nothing but read and write in its session.
        """
        mine = _Write(action)
        try:
            self._wait(mine)
            if not mine.done:
                self._write_all(self._take())
        finally:
            self._leave(mine)
        if mine.error is not None:
            raise mine.error
        return mine.value  # type: ignore[return-value]

    def _wait(self, mine: _Write[Any]) -> None:
        with self._list:
            self._waiting.append(mine)
            mine.leads, self._taken = not self._taken, True
        if not mine.leads:
            mine.woken.acquire()

    def _leave(self, mine: _Write[Any]) -> None:
        """Pass the turn on. Whoever was interrupted while it waited takes its write along, and the turn must not go with it."""
        if mine.done and not mine.leads:
            return
        with self._list:
            if mine in self._waiting:
                self._waiting.remove(mine)
            if not mine.leads:
                return
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.release()
            else:
                self._taken = False

    def _take(self) -> list[_Write[Any]]:
        """Whoever has the turn is the first of those that wait."""
        with self._list:
            taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        return taken

    def _write_all(self, writes: list[_Write[Any]]) -> None:
        """Without savepoints, since most writes succeed; with them once more when one failed, for then nothing was committed."""
        try:
            if len(writes) == 1:
                self._commit(writes, _alone)
            elif not self._commit_quickly(writes):
                self._commit(writes, _apart)
        except BaseException as error:
            for write in writes:
                write.error = write.error or error
        finally:
            for write in writes:
                write.done = True
                write.woken.release()

    def _commit_quickly(self, writes: list[_Write[Any]]) -> bool:
        try:
            self._commit(writes, _together)
        except _ActionFailedError:
            return False
        return True

    def _commit(self, writes: list[_Write[Any]], apply: Callable[[_Write[Any], Session], None]) -> None:
        with self._writing() as session:
            for write in writes:
                apply(write, session)


class _ActionFailedError(Exception):
    """An action raised, so that nothing of its transaction was committed."""


def _alone(write: _Write[Any], session: Session) -> None:
    write.value = write.action(session)


def _together(write: _Write[Any], session: Session) -> None:
    try:
        write.value = write.action(session)
    except Exception as error:
        raise _ActionFailedError from error


def _apart(write: _Write[Any], session: Session) -> None:
    """What fails only goes back to where it began."""
    try:
        with session.begin_nested():
            write.value = write.action(session)
    except Exception as error:
        write.error = error

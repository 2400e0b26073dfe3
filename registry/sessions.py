"""Sessions, each in a transaction of its own that begins with it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session, SessionTransaction


class Sessions(ABC):
    """Where sessions come from. Safe to share between threads."""

    @abstractmethod
    def open(self) -> AbstractContextManager[Session]:
        """A session for the time of the block. Where sessions write, the end of the block commits and an error undoes all of it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. May be repeated."""


class ServerSessions(Sessions):
    """Of a database that is reached over a network: the way there costs more than SQLAlchemy's own work."""

    def __init__(self, engine: Engine, *, writing: bool) -> None:
        self._engine = engine
        self._writing = writing

    @contextmanager
    def open(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            if not self._writing:
                yield session
                return
            with session.begin():
                session.connection()  # begun now: what the block reads is still true when it writes
                yield session

    def close(self) -> None:
        self._engine.dispose()


class DirectSession(Session):
    """A session on a connection to SQLite that stays open: its transaction has begun on the ``driver``, and the session joins it when it is used.

    So a block that runs prepared statements alone never pays for a session's own transaction.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, expire_on_commit=False)
        self.connected = connection
        self.driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        self.dialect: Dialect = connection.dialect

    def begin_nested(self) -> SessionTransaction:
        """The savepoint is set at once, for statements that go to the driver; the session alone would wait until it is used itself."""
        nested = super().begin_nested()
        self.connection()
        return nested

    def commit_all(self) -> None:
        if self.in_transaction():
            self.commit()
        self.driver.commit()  # also when the session took no part, or had nothing to say

    def undo_all(self) -> None:
        """What was not committed, and every object that the session knows; most have none, and closing a session for it costs more than a read."""
        if self.in_transaction() or len(self.identity_map):
            self.close()
        if self.connected.get_transaction():  # a commit that failed, as on a full disk, leaves it with the connection
            self.connected.rollback()
        self.driver.rollback()


class DirectSessions(Sessions):
    """Of an SQLite file. Sessions are used again with their connections, up to ``kept`` of them."""

    def __init__(self, engine: Engine, *, writing: bool, kept: int) -> None:
        self._engine = engine
        self._writing = writing
        self._kept = kept
        self._begin = "BEGIN IMMEDIATE" if writing else "BEGIN"
        self._idle: deque[DirectSession] = deque()

    @contextmanager
    def open(self) -> Iterator[Session]:
        session = self._take()
        try:
            session.driver.execute(self._begin)
            yield session
            if self._writing:
                session.commit_all()
        finally:
            self._give_back(session)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().connected.close()
        self._engine.dispose()

    def _take(self) -> DirectSession:
        try:
            return self._idle.pop()
        except IndexError:
            return DirectSession(self._engine.connect())

    def _give_back(self, session: DirectSession) -> None:
        """One that cannot end its transaction is not used again."""
        try:
            session.undo_all()
        except BaseException:
            session.connected.invalidate()
            session.connected.close()
            raise
        if len(self._idle) < self._kept:
            self._idle.append(session)
        else:
            session.connected.close()

"""Statements that run for every step of every job: put together once, and run without the ORM."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session


class Prepared:
    """A statement with named parameters; an INSERT without own values sets the columns that are named.

    It runs on the session's connection: changes that the session has not flushed are not seen, nor does the session learn of these.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement

    def run(self, session: Session, **values: Any) -> Any:
        """The cursor's result."""
        return session.connection().execute(self._statement, values)

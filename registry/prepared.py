"""Statements that run for every step of every job: put together once, and run without the ORM."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from registry.sessions import DirectSession

_Processor = Callable[[Any], Any]


class Prepared:
    """A statement with named parameters; an INSERT without own values sets the columns that are named.

    It runs on the session's connection: changes that the session has not flushed are not seen, nor does the session learn of these.
    On SQLite it is handed to the driver as it is, which costs a tenth of SQLAlchemy's way there.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._ready: dict[tuple[str, ...], _Compiled] = {}

    def run(self, session: Session, **values: Any) -> Any:
        """The rows, by their columns' names, and ``rowcount``; as SQLAlchemy's result has them."""
        if not isinstance(session, DirectSession):
            return session.connection().execute(self._statement, values)
        names = tuple(values)
        compiled = self._ready.get(names)
        if compiled is None:
            compiled = self._ready[names] = _Compiled(self._statement, names, session.dialect)
        return compiled.run(session, values)


class Rows:
    """What a statement gave, read to its end."""

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        (row,) = self._rows
        return row

    def scalar(self) -> Any:
        return self._rows[0][0] if self._rows else None

    def scalars(self) -> Iterator[Any]:
        return (row[0] for row in self._rows)


class _Compiled:
    """A statement as SQLite's driver takes it, with what its columns' types do to values on their way in and out."""

    def __init__(self, statement: Any, names: tuple[str, ...], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names if statement.is_insert else None)
        self._by_sqlalchemy = statement if any(bind.expanding for bind in compiled.binds.values()) else None
        self._text = str(compiled)
        self._order = tuple(compiled.positiontup or ())
        writers = {name: _bind_processor(compiled.binds[name].type, dialect) for name in self._order}
        self._writers = [(name, write) for name, write in writers.items() if write and name in names]
        self._fixed = {name: _apply(writers[name], compiled.params[name]) for name in self._order if name not in names}
        columns = () if statement.is_dml else tuple(statement.selected_columns)
        self._row = _row_maker([column.key for column in columns], [_result_processor(column.type, dialect) for column in columns])

    def run(self, session: DirectSession, values: Mapping[str, Any]) -> Any:
        if self._by_sqlalchemy is not None:
            return session.connection().execute(self._by_sqlalchemy, values)
        given = {**self._fixed, **values}
        for name, write in self._writers:
            given[name] = write(given[name])
        cursor = session.driver.execute(self._text, [given[name] for name in self._order])
        return Rows([self._row(row) for row in cursor.fetchall()], cursor.rowcount)


def _row_maker(names: Iterable[str | None], readers: Iterable[_Processor | None]) -> _Processor:
    """Makes what the driver gives into a row with the columns' names, its values as their types read them."""
    row_type = _row_type(tuple(map(str, names)))
    needed = [(place, read) for place, read in enumerate(readers) if read]

    def make(given: tuple[Any, ...]) -> Any:
        values = list(given)
        for place, read in needed:
            values[place] = read(values[place])
        return row_type._make(values)

    return make


def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _apply(process: _Processor | None, value: Any) -> Any:
    return process(value) if process else value

"""Statements that run for every step of every job: put together once, and run without the ORM."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """What a statement gave, read to its end. Values are made into what their columns' types say when they are asked for."""

    def __init__(self, given: Sequence[tuple[Any, ...]], rowcount: int, columns: _Columns) -> None:
        self._given = given
        self._columns = columns
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return map(self._columns.row, self._given)

    def first(self) -> Any:
        return next(iter(self), None)

    def one(self) -> Any:
        (row,) = self
        return row

    def scalar(self) -> Any:
        return next(self.scalars(), None)

    def scalars(self) -> Iterator[Any]:
        return map(self._columns.value, self._given)


class _Columns:
    """Of a statement's rows: their names, and what their types do to the values that the driver gives."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        columns = () if statement.is_dml else tuple(statement.selected_columns)
        readers = [_result_processor(column.type, dialect) for column in columns]
        self._readers = [(place, read) for place, read in enumerate(readers) if read]
        self._first = readers[0] if readers else None
        self._row_type = _row_type([str(column.key) for column in columns])

    def row(self, given: tuple[Any, ...]) -> Any:
        values = list(given)
        for place, read in self._readers:
            values[place] = read(values[place])
        return self._row_type._make(values)

    def value(self, given: tuple[Any, ...]) -> Any:
        return self._first(given[0]) if self._first else given[0]


def _row_type(names: list[str]) -> Any:
    return namedtuple("Row", names, rename=True)


class _Compiled:
    """A statement as SQLite's driver takes it, with what its columns' types do to values on their way in and out."""

    def __init__(self, statement: Any, names: tuple[str, ...], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names if statement.is_insert else None)
        self._by_sqlalchemy = statement if any(bind.expanding for bind in compiled.binds.values()) else None
        self._text = str(compiled)
        self._order = tuple(compiled.positiontup or ())
        writers = {name: _bind_processor(compiled.binds[name].type, dialect) for name in self._order}
        self._writers = [(name, write, write(None) is None) for name, write in writers.items() if write and name in names]
        self._fixed = {name: _apply(writers[name], compiled.params[name]) for name in self._order if name not in names}
        self._columns = _Columns(statement, dialect)

    def run(self, session: DirectSession, values: Mapping[str, Any]) -> Any:
        if self._by_sqlalchemy is not None:
            return session.connection().execute(self._by_sqlalchemy, values)
        given = {**self._fixed, **values}
        for name, write, keeps_none in self._writers:
            if given[name] is not None or not keeps_none:
                given[name] = write(given[name])
        cursor = session.driver.execute(self._text, [given[name] for name in self._order])
        return Rows(cursor.fetchall(), cursor.rowcount, self._columns)


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _apply(process: _Processor | None, value: Any) -> Any:
    return process(value) if process else value

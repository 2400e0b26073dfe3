"""Statements that are handed to the driver as they are: their values and errors are those of SQLAlchemy's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, InternalError, RequestError
from registry.database import Database
from registry.prepared import Prepared
from registry.tables import DatasetRow, JobEventRow, JobRow, now

_EVENTS: Any = JobEventRow.__table__
_NOTE = Prepared(_EVENTS.insert())
_DETAIL = Prepared(select(_EVENTS.c.detail, _EVENTS.c.created_at).where(_EVENTS.c.job_id == bindparam("job_id")))
_NAMED = Prepared(select(DatasetRow.name).where(DatasetRow.name.in_(bindparam("names", expanding=True))).order_by(DatasetRow.name))
_DATASETS: Any = DatasetRow.__table__
_ADD = Prepared(_DATASETS.insert())


def _note(session: Session, job_id: str, **values: Any) -> None:
    _NOTE.run(session, job_id=job_id, **({"attempt": 1, "step": "stage", "detail": {}, "created_at": now()} | values))


def test_values_come_back_as_the_types_of_their_columns_say(session: Session, new_job: Callable) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=timezone(timedelta(hours=2)))
    detail = {"loss": float("inf"), "at": moment, 3: (1, None), "name": "größe"}
    _note(session, new_job(session).id, detail=detail, created_at=moment)
    found = _DETAIL.run(session, job_id="t4k2m9xq").one()
    assert found.detail == {"loss": float("inf"), "at": moment, 3: [1, None], "name": "größe"}
    assert found.created_at == moment
    assert found.created_at.tzinfo is timezone.utc
    assert session.scalars(select(JobEventRow.detail)).one() == found.detail


def test_nothing_is_null_in_every_column(session: Session, new_job: Callable) -> None:
    job = new_job(session)
    assert (job.progress, job.started_at) == (None, None)
    assert session.scalars(select(JobRow.id).where(JobRow.progress.is_(None), JobRow.started_at.is_(None))).all() == [job.id]


def test_a_list_of_values_may_have_any_length(session: Session) -> None:
    for name in ("a", "b", "c"):
        _ADD.run(session, name=name, created_at=now())
    assert [list(_NAMED.run(session, names=names).scalars()) for names in ([], ["b"], ["c", "a", "z"])] == [[], ["b"], ["a", "c"]]


def test_it_sees_what_the_session_flushed_and_the_session_sees_what_it_wrote(database: Database) -> None:
    with database.writing() as session:
        _ADD.run(session, name="first", created_at=now())
        session.add(DatasetRow(name="second", created_at=now()))
        session.flush()
        assert list(_NAMED.run(session, names=["first", "second"]).scalars()) == ["first", "second"]
        session.add(DatasetRow(name="third", created_at=now()))
    with database.reading() as session:
        assert session.scalars(select(DatasetRow.name).order_by(DatasetRow.id)).all() == ["first", "second", "third"]


def test_a_part_that_is_undone_takes_its_statements_with_it(database: Database) -> None:
    with database.writing() as session:
        _ADD.run(session, name="kept", created_at=now())
        part = session.begin_nested()
        _ADD.run(session, name="undone", created_at=now())
        part.rollback()
    with database.reading() as session:
        assert session.scalars(select(DatasetRow.name)).all() == ["kept"]


def test_a_broken_constraint_is_a_conflict(database: Database) -> None:
    with pytest.raises(ConflictError, match="FOREIGN KEY") as caught, database.writing() as session:
        _note(session, "nobody00")
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)


@pytest.mark.parametrize("value", [{"step": "\ud800"}, {"attempt": 2**80}])
def test_a_value_no_database_can_hold_is_refused(database: Database, value: dict) -> None:
    with pytest.raises(RequestError, match="cannot be stored"), database.writing() as session:
        _note(session, "t4k2m9xq", **value)


def test_a_value_its_column_refuses_is_named(database: Database) -> None:
    with pytest.raises(RequestError, match="type set"), database.writing() as session:
        _note(session, "t4k2m9xq", detail={"classes": {1, 2}})
    with pytest.raises(InternalError, match="without a zone"), database.writing() as session:
        _note(session, "t4k2m9xq", created_at=datetime(2026, 3, 1))


def test_a_write_while_reading_is_a_defect(database: Database) -> None:
    with pytest.raises(InternalError, match=r"inside reading\(\)"), database.reading() as session:
        _ADD.run(session, name="d", created_at=now())

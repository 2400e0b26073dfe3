"""Sessions that are used again: nothing of one block is left for the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, InternalError
from registry.database import Database
from registry.jobs import find_job
from registry.tables import DatasetRow, JobEventRow, now


def _names(session: Session) -> list[str]:
    return list(session.scalars(select(DatasetRow.name).order_by(DatasetRow.id)))


@pytest.mark.parametrize("flushed", [False, True])
def test_an_error_leaves_nothing_for_the_next_block(database: Database, flushed: bool) -> None:
    def write_and_fail(session: Session) -> None:
        session.add(DatasetRow(name="undone", created_at=now()))
        if flushed:
            session.flush()
        raise KeyError

    with pytest.raises(KeyError), database.writing() as session:
        write_and_fail(session)
    with database.writing() as session:
        assert not session.new
        assert _names(session) == []


def test_a_block_sees_what_others_wrote_since_the_last_one(database: Database) -> None:
    for name in ("first", "second"):
        with database.reading() as session:
            before = session.scalars(select(DatasetRow)).all()
        with database.writing() as session:
            session.add(DatasetRow(name=name, created_at=now()))
            for row in session.scalars(select(DatasetRow).where(DatasetRow.name != name)):
                row.name = "changed"
    assert [row.name for row in before] == ["first"]  # what was read stays as it was read
    with database.reading() as session:
        assert _names(session) == ["changed", "second"]


def test_blocks_within_blocks_have_sessions_of_their_own(database: Database) -> None:
    with database.reading() as outer, database.reading() as inner:
        assert outer is not inner
        with database.writing() as session:
            session.add(DatasetRow(name="late", created_at=now()))
        assert (_names(inner), _names(outer)) == (["late"], ["late"])  # neither had looked before


def test_more_blocks_at_once_than_connections_are_kept(database: Database, new_job: Callable) -> None:
    everybody = Barrier(40)

    def read() -> bool:
        with database.reading() as session:
            everybody.wait(60)
            return find_job(session, "t4k2m9xq") is not None

    with database.writing() as session:
        new_job(session)
    with ThreadPoolExecutor(40) as threads:
        assert all(threads.map(lambda _: read(), range(40)))


def test_a_connection_that_broke_is_replaced(database: Database) -> None:
    with pytest.raises(InternalError), database.writing() as session:
        session.connection().connection.driver_connection.close()
    with database.writing() as session:
        session.add(DatasetRow(name="after", created_at=now()))
    with database.reading() as session:
        assert _names(session) == ["after"]


def test_a_database_that_was_closed_can_be_used_again(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "db.sqlite")
    for name in ("first", "second"):
        with database.writing() as session:
            session.add(DatasetRow(name=name, created_at=now()))
        database.close()
    with database.reading() as session:
        assert _names(session) == ["first", "second"]
    database.close()


def test_a_commit_that_fails_leaves_nothing_for_the_next_block(database: Database) -> None:
    """As on a full disk, which is only met when the transaction ends; here a reference to nothing is."""

    def refer_to_nothing(session: Session) -> None:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        session.add(JobEventRow(job_id="nobody", attempt=1, step="stage", detail={}, created_at=now()))

    with pytest.raises(ConflictError, match="FOREIGN KEY"), database.writing() as session:
        refer_to_nothing(session)
    with database.writing() as session:
        session.add(DatasetRow(name="kept", created_at=now()))
    with database.reading() as session:
        assert _names(session) == ["kept"]
        assert session.scalars(select(JobEventRow)).all() == []

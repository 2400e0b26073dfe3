"""The scripts make exactly the tables of registry/tables.py, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.pool import NullPool

from registry.database import Database, migration_config
from registry.migrations import HEAD
from registry.tables import Base


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A plain connection to a database that ``Database.open`` has made."""
    Database.open(url).close()
    engine: Engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def test_tables_and_scripts_say_the_same(connection: Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, Base.metadata) == []


def test_the_comparison_itself_sees_a_difference(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE jobs DROP COLUMN cleaned_at")
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    assert [change[0] for change in compare_metadata(context, Base.metadata)] == ["add_column"]


def test_the_code_needs_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migration_config()).get_heads() == [HEAD]


def test_every_step_can_be_taken_back_and_forth(connection: Connection) -> None:
    made = set(inspect(connection).get_table_names())
    command.downgrade(migration_config(connection), "base")
    assert inspect(connection).get_table_names() == ["alembic_version"]
    command.upgrade(migration_config(connection), "head")
    assert set(inspect(connection).get_table_names()) == made == {*Base.metadata.tables, "alembic_version"}


def test_every_constraint_has_a_name_so_that_it_can_be_changed_later() -> None:
    constraints = [(table.name, constraint) for table in Base.metadata.tables.values() for constraint in table.constraints]
    assert [table for table, constraint in constraints if not constraint.name] == []


def test_scripts_stand_alone_so_that_they_go_on_making_what_they_make_today() -> None:
    scripts = Path(ScriptDirectory.from_config(migration_config()).versions).glob("0*.py")
    assert [script.name for script in scripts if "registry" in script.read_text().split('"""')[2]] == []

"""The scripts make exactly the tables of registry/tables.py, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text
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


def test_named_jobs_and_models_get_their_numbers_and_what_refers_to_them_follows(connection: Connection) -> None:
    command.downgrade(migration_config(connection), "0002")
    for number, (job_id, name, end) in enumerate([("t1", "first", "exit_code"), ("t2", "first", "succeeded"), ("i1", None, None)]):
        columns = ["id", "name", "kind", "spec", "plan", "step", "end_reason", "attempt", "image_name", "image_reference", "image_digest"]
        columns += ["engine", "dialect", "gpu_uuids", "run_dir", "created_at", "warnings", '"user"', "project", "priority"]
        columns += ["gpu_count", "cpu_count", "memory_bytes", "gpu_wish"]
        values = [job_id, name, "training", "{}", '{"model": "first"}', "queued", end, 1, "i", "i:1", "sha256:1"]
        values += ["docker", "ymir", "[]", "r", f"2026-01-0{number + 1} 00:00:00", "[]", "ada", "default", 0, 0, 0.0, 0, ""]
        marks = ", ".join(f":p{n}" for n in range(len(values)))
        statement = text(f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})")
        connection.execute(statement, {f"p{n}": value for n, value in enumerate(values)})
    for name, job in (("first", "'t2'"), ("other", "NULL")):
        columns = (
            "name, job_id, image_name, image_digest, object_type, class_names, best_stage, parameters, folder, evaluate_config, attachments"
        )
        row = f"'{name}', {job}, 'i', 'd', 2, '[]', 's', '{{}}', 'models/{name}', '{{}}', '{{}}', '2026-01-01 00:00:00'"
        connection.execute(text(f"INSERT INTO models ({columns}, created_at) VALUES ({row})"))
    command.upgrade(migration_config(connection), "head")
    assert connection.execute(text("SELECT id, version FROM jobs ORDER BY created_at")).all() == [("t1", 1), ("t2", 2), ("i1", None)]
    assert connection.execute(text("SELECT name, version FROM models ORDER BY name")).all() == [("first", 2), ("other", 1)]
    assert connection.execute(text("SELECT name, newest FROM version_counts ORDER BY name")).all() == [("first", 2), ("other", 1)]
    (plan,) = connection.execute(text("SELECT plan FROM jobs WHERE id = 'i1'")).one()
    assert "first@V0002" in str(plan)


def test_every_constraint_has_a_name_so_that_it_can_be_changed_later() -> None:
    constraints = [(table.name, constraint) for table in Base.metadata.tables.values() for constraint in table.constraints]
    assert [table for table, constraint in constraints if not constraint.name] == []


def test_scripts_stand_alone_so_that_they_go_on_making_what_they_make_today() -> None:
    scripts = Path(ScriptDirectory.from_config(migration_config()).versions).glob("0*.py")
    assert [script.name for script in scripts if "registry" in script.read_text().split('"""')[2]] == []

"""Opening, transactions, durability and the errors of the database."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from contracts.errors import ConfigurationError, ConflictError, InternalError, RequestError, UnavailableError
from registry.database import Database
from registry.images import find_image, list_images
from registry.jobs import find_job, list_jobs
from registry.tables import GpuSlotRow, ImageRow

KILL_IN_THE_MIDDLE_OF_A_WRITE = """
import os, signal, sys
from contracts.image import Kind
from registry.database import Database
from registry.jobs import add_job
with Database.open(sys.argv[1]).writing() as session:
    for n in range(3):
        add_job(session, id=f"t{n}", kind=Kind.TRAINING, spec={}, plan={}, image_name="i", image_reference="r", image_digest="d",
                engine="docker", run_dir="runs")
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILL_IN_THE_MIDDLE_OF_A_MIGRATION = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from registry.database import Database
@event.listens_for(Engine, "after_cursor_execute")
def on_execute(connection, cursor, statement, *rest):
    if "CREATE TABLE jobs" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
Database.open(sys.argv[1])
"""
OPEN_WHEN_TOLD = """
import sys
from registry.database import Database
print("ready", flush=True)
sys.stdin.readline()
with Database.open(sys.argv[1]) as database, database.reading() as session:
    session.connection().exec_driver_sql("SELECT count(*) FROM jobs")
"""
OPEN_AND_SAY_WHY_NOT = """
import sys
from contracts.errors import ConfigurationError
from registry.database import Database
try:
    Database.open(sys.argv[1])
except ConfigurationError as error:
    print(error)
"""


def _python(script: str, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ----------------------------------------------------------------------------------------------------------- transactions


def test_what_was_written_is_there_for_the_next_program(url: str, new_job: Callable) -> None:
    with Database.open(url) as first, first.writing() as session:
        new_job(session, "t4k2m9xq")
    with Database.open(url) as second, second.reading() as session:
        assert find_job(session, "t4k2m9xq") is not None


def test_an_error_in_the_block_undoes_all_of_it(database: Database, new_job: Callable) -> None:
    def write_and_fail() -> None:
        with database.writing() as session:
            new_job(session)
            raise KeyError("something else went wrong")

    with pytest.raises(KeyError):
        write_and_fail()
    with database.reading() as session:
        assert list_jobs(session) == []


def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(database: Database, new_job: Callable) -> None:
    with database.reading() as reader:
        assert list_jobs(reader) == []
        with database.writing() as writer:
            new_job(writer)
        assert list_jobs(reader) == []
    with database.reading() as later:
        assert len(list_jobs(later)) == 1


def test_a_write_inside_reading_is_refused_as_a_defect(database: Database, new_job: Callable) -> None:
    with pytest.raises(InternalError, match=r"inside reading\(\)"), database.reading() as session:
        new_job(session)


def test_a_second_writer_waits_for_the_first(database: Database, new_job: Callable) -> None:
    begun, order = threading.Event(), []

    def second() -> None:
        begun.set()
        with database.writing() as session:
            order.append(len(list_jobs(session)))

    with database.writing() as session:
        thread = threading.Thread(target=second)
        thread.start()
        assert begun.wait(10)
        new_job(session)
    thread.join(20)
    assert order == [1]


def test_a_writer_that_waits_too_long_is_told_why(url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "sluice.db", isolation_level=None)
    with Database.open(url, busy_timeout_s=0.05) as database:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked by another writer"), database.writing():
            pass
        other.close()
        with database.writing():
            pass


def test_a_commit_survives_power_loss_as_far_as_sqlite_can_promise(database: Database) -> None:
    with database.writing() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_program_killed_in_the_middle_of_a_write_leaves_the_old_state(url: str, database: Database, new_job: Callable) -> None:
    with database.writing() as session:
        new_job(session, "told1234")
    killed = _python(KILL_IN_THE_MIDDLE_OF_A_WRITE, url)
    assert killed.communicate(timeout=60)[1] == ""
    assert killed.returncode == -signal.SIGKILL
    with database.writing() as session:
        assert [job.id for job in list_jobs(session)] == ["told1234"]


# ---------------------------------------------------------------------------------------------------------------- opening


def test_importing_the_package_loads_nothing() -> None:
    script = "import sys, registry; print([m for m in sys.modules if m.startswith(('sqlalchemy', 'alembic', 'pydantic', 'registry.'))])"
    assert _python(script).communicate(timeout=60)[0] == "[]\n"


def test_opening_a_database_that_is_up_to_date_does_not_load_alembic(url: str) -> None:
    Database.open(url).close()
    script = "import sys; from registry.database import Database; Database.open(sys.argv[1]); print('alembic' in sys.modules)"
    assert _python(script, url).communicate(timeout=60)[0] == "False\n"


def test_several_programs_may_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    for attempt in range(3):
        programs = [_python(OPEN_WHEN_TOLD, f"sqlite:///{tmp_path}/{attempt}.db") for _ in range(4)]
        assert [program.stdout.readline() for program in programs] == ["ready\n"] * 4
        for program in programs:
            program.stdin.write("go\n")
            program.stdin.flush()
        assert [program.communicate(timeout=60)[1] for program in programs] == [""] * 4


def test_a_program_killed_in_the_middle_of_a_migration_leaves_nothing_half_made(url: str) -> None:
    killed = _python(KILL_IN_THE_MIDDLE_OF_A_MIGRATION, url)
    assert killed.communicate(timeout=60)[1] == ""
    assert killed.returncode == -signal.SIGKILL
    with Database.open(url) as database, database.reading() as session:
        assert list_jobs(session) == []


def test_a_path_is_as_good_as_a_url_and_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "100% größe?#"
    folder.mkdir()
    with Database.open(folder / "sluice.db") as database, database.reading() as session:
        assert list_images(session) == []
    assert (folder / "sluice.db").exists()


def test_closing_twice_does_nothing(database: Database) -> None:
    database.close()
    database.close()


def test_a_database_newer_than_the_code_is_refused_and_not_changed(url: str, tmp_path: Path) -> None:
    Database.open(url).close()
    with sqlite3.connect(tmp_path / "sluice.db") as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    before = (tmp_path / "sluice.db").read_bytes()
    with pytest.raises(ConfigurationError, match="newer than this Sluice: it has revision 9999"):
        Database.open(url)
    assert (tmp_path / "sluice.db").read_bytes() == before


def test_another_programs_database_is_refused_and_not_changed(url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sluice.db") as other:
        other.execute("CREATE TABLE holidays (day TEXT)")
    other.close()
    with pytest.raises(ConfigurationError, match="belongs to another program: it has the tables holidays"):
        Database.open(url)
    with sqlite3.connect(tmp_path / "sluice.db") as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("holidays",)]
    other.close()


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_named(url: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sluice.db").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"sluice\.db cannot be used") as caught:
        Database.open(url)
    assert "backup" in caught.value.hint


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere/sluice\.db cannot be used"):
        Database.open(f"sqlite:///{tmp_path}/nowhere/sluice.db")


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Database.open(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("made_before", [False, True])
def test_a_read_only_folder_is_named(tmp_path: Path, made_before: bool) -> None:
    file = tmp_path / "folder" / "sluice.db"
    file.parent.mkdir()
    if made_before:
        file.touch()
    file.parent.chmod(0o555)
    # The superuser may write anywhere unless that capability is taken from it.
    prefix = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    said, _ = _python(OPEN_AND_SAY_WHY_NOT, f"sqlite:///{file}", prefix=prefix).communicate(timeout=60)
    file.parent.chmod(0o755)
    assert "cannot be used" in said
    assert "writable" in said


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no file"):
        Database.open(url)


@pytest.mark.parametrize("url", ["nosuch://host/database", "postgresql+nosuch://host/database"])
def test_an_unknown_driver_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no driver"):
        Database.open(url)


# ----------------------------------------------------------------------------------------------------------------- errors


def test_a_broken_constraint_is_a_conflict(database: Database) -> None:
    with pytest.raises(ConflictError, match="FOREIGN KEY"), database.writing() as session:
        session.add(GpuSlotRow(host="h", uuid="GPU-1", slot=0, lease_id=77))


def test_a_full_disk_is_said_to_be_full(database: Database, new_job: Callable) -> None:
    def fill(session: Session) -> None:
        pages = session.execute(text("PRAGMA page_count")).scalar()
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        new_job(session, spec={"filler": "x" * 100_000})

    with pytest.raises(UnavailableError, match="is full") as caught, database.writing() as session:
        fill(session)
    assert caught.value.fields["reason"] == "disk_full"
    with database.reading() as session:
        assert list_jobs(session) == []


@pytest.mark.parametrize("value", [{"name": "\ud800"}, {"size_bytes": 2**80}])
def test_a_value_no_database_can_hold_is_refused(database: Database, new_image: Callable, value: dict) -> None:
    with pytest.raises(RequestError, match="cannot be stored"), database.writing() as session:
        session.execute(update(ImageRow).where(ImageRow.id == new_image(session).id).values(value))
    with database.reading() as session:
        assert find_image(session, "tinydet") is None


def test_an_error_of_the_callers_own_code_passes_unchanged(database: Database) -> None:
    with pytest.raises(OverflowError), database.writing():
        float(10**400)


def test_the_password_of_a_url_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database.open("postgresql+nosuch://me:secret@host/database")
    assert "secret" not in str(caught.value)

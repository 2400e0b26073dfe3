"""The same registry on a PostgreSQL server, started for these tests where its programs and a driver are installed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from contracts.errors import ConfigurationError, ConflictError, InternalError, NoGpuError, RequestError, UnavailableError
from contracts.image import Kind
from contracts.job import EndReason, Evidence, Step
from registry.database import Database
from registry.datasets import add_version, list_datasets, list_versions, next_number, remove_dataset
from registry.images import get_image, remove_image, replace_image
from registry.jobs import Filter, add_event, finish_job, get_job, list_events, list_jobs, update_job
from registry.leases import list_open, release, take
from registry.links import add_link, list_links
from registry.models import StageRecord, add_model, get_model, remove_model
from registry.tables import Base, GpuSlotRow

pytestmark = pytest.mark.slow


def _programs() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian keeps them off the PATH
    on_path = shutil.which("pg_ctl")
    return folders[-1] if folders else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server in a folder of its own, listening on a socket there only."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver psycopg is not installed")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    # The server refuses to run as root, and nobody else may enter root's tmp_path.
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="sluice-postgresql-", dir="/tmp") as folder:
        if owner:
            shutil.chown(folder, **owner)

        def call(*command: str) -> None:
            subprocess.run(
                [str(programs / command[0]), *command[1:]], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **owner
            )

        call("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "sluice", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", f"-c listen_addresses='' -k {folder}", "start")
        try:
            yield f"postgresql+psycopg://sluice@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS registry WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE registry"))
    engine.dispose()
    return server.replace("/postgres?", "/registry?")


def _in_programs(target: Callable[..., None], url: str, count: int) -> list:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    programs = [context.Process(target=target, args=(url, n, answers)) for n in range(count)]
    for program in programs:
        program.start()
    answered = [answers.get(timeout=120) for _ in programs]
    for program in programs:
        program.join(60)
    return answered


def open_fresh(url: str, program: int, answers: multiprocessing.Queue) -> None:
    with Database.open(url) as database, database.reading() as session:
        answers.put(len(list_jobs(session)))


def add_versions(url: str, program: int, answers: multiprocessing.Queue) -> None:
    conflicts = 0
    with Database.open(url) as database:
        for _ in range(10):
            try:
                with database.writing() as session:
                    number = next_number(session, "digits")
                    add_version(
                        session, dataset="digits", number=number, folder="f", image_count=1, annotation_count=1, class_names=(), splits={}
                    )
            except ConflictError:
                conflicts += 1
    answers.put(conflicts)


def take_and_release(url: str, program: int, answers: multiprocessing.Queue) -> None:
    leases = 0
    with Database.open(url) as database:
        for n in range(40):
            cards = [f"GPU-{(program + n * step) % 8}" for step in (1, 3)][: 1 + n % 2]
            if len(set(cards)) < len(cards):
                continue
            try:
                with database.writing() as session:
                    take(session, "host", f"t{program}-{n}", 1, cards)
            except NoGpuError:
                continue
            with database.writing() as session:
                session.execute(text("INSERT INTO in_use VALUES (:card)"), [{"card": card} for card in cards])
            with database.writing() as session:
                session.execute(text("DELETE FROM in_use WHERE card = :card"), [{"card": card} for card in cards])
                release(session, f"t{program}-{n}", 1)
            leases += 1
    answers.put(leases)


def test_the_scripts_make_the_tables_here_too(database: Database) -> None:
    with database.writing() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_several_programs_may_open_a_fresh_database_at_once(url: str) -> None:
    assert _in_programs(open_fresh, url, 4) == [0] * 4


def test_a_database_newer_than_the_code_is_refused(url: str) -> None:
    with Database.open(url) as database, database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer than this Sluice"):
        Database.open(url)


def test_an_image_its_links_and_its_removal(database: Database, new_image: Callable, metadata: Callable) -> None:
    with database.writing() as session:
        for name in ("trainer", "other"):
            new_image(session, name)
        assert len(add_link(session, "trainer", "other")) == len(add_link(session, "trainer", "other")) == 2
        replace_image(session, "other", digest="sha256:new", metadata=metadata((Kind.MINING,)))
        assert [link.kind for link in list_links(session)] == [Kind.MINING]
        remove_image(session, "trainer")
        assert list_links(session) == []
    with database.reading() as session:
        assert get_image(session, "other").metadata == metadata((Kind.MINING,))


def test_a_job_from_its_start_to_its_end(database: Database, new_job: Callable) -> None:
    with database.writing() as session:
        created = new_job(session, "t4k2m9xq", spec={"lr": float("inf"), "name": "a\0b"})
        add_event(session, "t4k2m9xq", Step.STAGE, {"n": 1})
        update_job(session, "t4k2m9xq", step=Step.FOLLOW, progress={"fraction": 0.5})
        finish_job(session, "t4k2m9xq", EndReason.EXIT_CODE, evidence=Evidence(log_tail=("\udce4 broken",)))
    with database.reading() as session:
        job = get_job(session, "t4k")
        assert (job.spec, job.created_at, job.end_reason) == (created.spec, created.created_at, EndReason.EXIT_CODE)
        assert job.evidence is not None
        assert job.evidence["log_tail"] == ["\udce4 broken"]
        assert [event.step for event in list_events(session, "t4k2m9xq")] == [Step.STAGE]
        assert list_jobs(session, Filter(states=(job.state,))) == [job]


def test_a_model_and_a_dataset_and_their_removal(database: Database) -> None:
    with database.writing() as session:
        add_version(session, dataset="digits", folder="f", image_count=2**40, annotation_count=1, class_names=("a",), splits={"": 1})
        stage = StageRecord("s" * 600, {"mAP": float("nan")}, 10**40, ("a",), 2**40)
        add_model(
            session, name="m", image_name="i", image_digest="d", object_type=2, class_names=("a",), best_stage=stage.name, parameters={}, folder="f",
            stages=[stage],
        )  # fmt: skip
        assert get_model(session, "m").get_stage().size_bytes == 2**40
        assert [d.latest.image_count for d in list_datasets(session)] == [2**40]
        remove_model(session, "m")
        remove_dataset(session, "digits")
        assert list_datasets(session) == []


def test_versions_taken_at_once_are_refused_or_numbered_without_a_gap(url: str) -> None:
    with Database.open(url) as database, database.writing() as session:
        add_version(session, dataset="digits", folder="f", image_count=1, annotation_count=1, class_names=(), splits={})
    conflicts = sum(_in_programs(add_versions, url, 3))
    with Database.open(url) as database, database.reading() as session:
        assert [version.number for version in list_versions(session, "digits")] == list(range(1, 32 - conflicts))


def test_eight_programs_never_hold_the_same_card(url: str, database: Database) -> None:
    with database.writing() as session:
        session.execute(text("CREATE TABLE in_use (card VARCHAR(50) PRIMARY KEY)"))
    assert sum(_in_programs(take_and_release, url, 8)) > 0
    with database.reading() as session:
        assert list_open(session) == []


def test_a_refused_lease_leaves_nothing_when_the_caller_goes_on(database: Database) -> None:
    with database.writing() as session:
        first = take(session, "host", "t1", 1, ["GPU-1"])
        assert take(session, "host", "t1", 1, ["GPU-1"]) == first
        with pytest.raises(NoGpuError, match="GPU-1 by job t1"):
            take(session, "host", "t2", 1, ["GPU-0", "GPU-1"])
    with database.reading() as session:
        assert list_open(session, "host") == [first]


def test_a_reader_sees_one_moment_and_cannot_write(database: Database, new_job: Callable) -> None:
    with database.reading() as reader:
        assert list_jobs(reader) == []
        with database.writing() as writer:
            new_job(writer)
        assert list_jobs(reader) == []
    with pytest.raises(InternalError, match=r"inside reading\(\)"), database.reading() as session:
        new_job(session, "t0000000")


def test_errors_are_translated(database: Database, new_image: Callable) -> None:
    with pytest.raises(ConflictError, match="foreign key"), database.writing() as session:
        session.add(GpuSlotRow(host="h", uuid="GPU-1", slot=0, lease_id=77))
    with pytest.raises(RequestError, match="cannot be stored"), database.writing() as session:
        new_image(session, reference="a\0b")
    with pytest.raises(RequestError, match="cannot be stored"), database.writing() as session:
        new_image(session, reference="\ud800")
    with pytest.raises(RequestError, match="cannot be stored"), database.writing() as session:
        new_image(session, size_bytes=2**80)


def test_a_server_that_does_not_answer_is_named(server: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        Database.open(f"postgresql+psycopg://sluice:secret@/registry?host={tmp_path}")


def test_a_lost_connection_is_replaced(database: Database, session_killer: Callable[[], None], new_job: Callable) -> None:
    session_killer()
    with database.writing() as session:
        assert new_job(session).id


@pytest.fixture
def session_killer(server: str, database: Database) -> Callable[[], None]:
    """Ends every connection of the database's pool, as a restarted server does."""

    def kill() -> None:
        with database.reading() as session:
            assert list_jobs(session) == []
            engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'registry'"))
        engine.dispose()

    return kill

"""One database of the registry: opened at the newest schema, read and written in short transactions."""

from __future__ import annotations

import fcntl
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from contracts.errors import ConfigurationError, ConflictError, InternalError, RequestError, SluiceError, UnavailableError
from registry.migrations import HEAD
from registry.sessions import DirectSessions, ServerSessions, Sessions
from registry.together import Together

BUSY_TIMEOUT_S = 30
# A service has a thread for each running job and each request; a connection more costs little.
_KEPT_CONNECTIONS = 16
_MORE_CONNECTIONS = 112
_CALLERS_OF_DRIVERS = frozenset({"sqlalchemy.engine.base", "registry.prepared"})

Value = TypeVar("Value")
_log = logging.getLogger(__name__)


class Database:
    """The registry's database. Threads may share one; a forked child opens its own.

    What you can rely on:

    1. What ``writing`` committed survives a crash of the program and a power loss: SQLite runs with ``synchronous=FULL``. In WAL mode
       ``NORMAL`` would lose the last commits with the power, and a lost "container created" is a container that nobody owns.
    2. A reader sees one moment: it neither waits for a writer nor sees half of what it writes.
    3. One writer at a time on SQLite; a second one waits up to 30 s and then gets ``UnavailableError``.
    4. Only errors of ``contracts.errors`` leave a ``with`` block for what the database did.
    """

    def __init__(self, engine: Engine, write_engine: Engine) -> None:
        """SQLite has connections of its own for each, so that none has to change between them."""
        self._engine = engine
        self._readers = _sessions(engine, writing=False)
        self._writers = _sessions(write_engine, writing=True)
        self._together = Together(self._writers.open)

    @classmethod
    def open(cls, url: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
        """Connect and bring the schema to this code's revision; made when it is not there. Safe in several processes at once.

        ``url`` is an SQLAlchemy URL (``sqlite:////absolute/file``, ``sqlite:///relative``, ``postgresql+psycopg://...``) or a file's path.
        Raises ``ConfigurationError`` when it cannot be used, ``UnavailableError`` when it may work later.
        """
        parsed = _parse_url(url)
        engine = _create_engine(parsed, busy_timeout_s)
        try:
            with _translated(parsed):
                if _is_fresh(parsed) or _revision(engine) != HEAD:
                    _migrate(parsed)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, engine if _is_postgresql(engine) else _create_engine(parsed, busy_timeout_s, writing=True))

    @property
    def url(self) -> str:
        """The URL with its password masked."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session on one moment of the database. A write inside is a defect and raises ``InternalError``."""
        with _translated(self._engine.url, reading=True), self._readers.open() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in a write transaction, begun at once; committed at the end of the block, rolled back by an error.

        Keep the block short and wait for nothing in it: on SQLite every other writer waits.
        """
        with _translated(self._engine.url), self._writers.open() as session:
            yield session

    def write(self, action: Callable[[Session], Value]) -> Value:
        """As ``writing`` for one small write: it shares its transaction with those of other threads that wait to write.

        Returns what ``action`` returned, once it is durable; what it raises is raised here and undoes its own changes only.
        """
        with _translated(self._engine.url):
            return self._together.write(action)

    def close(self) -> None:
        """Let go of every connection. May be repeated."""
        self._readers.close()
        self._writers.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


# ------------------------------------------------------------------------------------------------------------- connecting


def _parse_url(url: str | Path) -> URL:
    try:
        parsed = make_url(url) if isinstance(url, str) and "://" in url else URL.create("sqlite", database=str(url))
    except ArgumentError as error:
        raise ConfigurationError(
            f"{url!r} is not a database URL", hint="Write sqlite:////folder/file.db or postgresql+psycopg://..."
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise ConfigurationError(f"the database {url} is no file", hint="Write sqlite:////folder/file.db: jobs must outlive the program.")
    return parsed.set(database=str(Path(parsed.database).expanduser().absolute()))


def _is_postgresql(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


def _sessions(engine: Engine, *, writing: bool) -> Sessions:
    if engine.dialect.name == "sqlite":
        return DirectSessions(engine, writing=writing, kept=_KEPT_CONNECTIONS)
    if _is_postgresql(engine) and not writing:
        engine = engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
    return ServerSessions(engine, writing=writing)


def _create_engine(url: URL, busy_timeout_s: float = BUSY_TIMEOUT_S, *, for_migration: bool = False, writing: bool = False) -> Engine:
    options: dict[str, Any] = (
        {"poolclass": NullPool} if for_migration else {"pool_size": _KEPT_CONNECTIONS, "max_overflow": _MORE_CONNECTIONS}
    )
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": busy_timeout_s}
    else:
        options["pool_pre_ping"] = not for_migration
    try:
        engine = create_engine(url, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"no driver for the database {url.render_as_string()}: {error}",
            hint="Install the driver the URL names, e.g. `pip install psycopg`.",
        ) from error
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine, foreign_keys=not for_migration, writing=writing)
    return engine


def _set_up_sqlite(engine: Engine, *, foreign_keys: bool, writing: bool) -> None:
    """Pragmas for every connection, and transactions that begin where the code says, not where Python's driver guesses."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.execute(f"PRAGMA query_only = {'OFF' if writing or not foreign_keys else 'ON'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:  # a session joins the transaction that ``DirectSessions`` began
            connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("sluice_writing") else "BEGIN")


# -------------------------------------------------------------------------------------------------------------- migrating


def _is_fresh(url: URL) -> bool:
    """A new SQLite file: not to be touched before the lock is held."""
    path = Path(url.database or "")
    return url.get_backend_name() == "sqlite" and not (path.exists() and path.stat().st_size)


def _revision(engine: Engine) -> str | None:
    """The schema's revision, or None for a database without one. Asked without Alembic, which takes longer to import than to answer."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(url: URL) -> None:
    """To the newest revision in one transaction, under a lock that every process takes."""
    with _migration_lock(url):
        engine = _create_engine(url, for_migration=True)
        try:
            if _revision(engine) != HEAD:  # another process may have been first
                upgrade(engine)
        finally:
            engine.dispose()


@contextmanager
def _migration_lock(url: URL) -> Iterator[None]:
    """SQLite: a lock file beside the database, because switching a fresh file to WAL ignores the busy timeout.

    Elsewhere the transaction of ``upgrade`` takes an advisory lock.
    """
    if url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(f"{url.database}.lock")
    try:
        file = path.open("ab")
    except OSError as error:
        raise _unusable(url, f"{path} cannot be written: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run the packaged scripts up to ``revision``; all or nothing. Raises ``ConfigurationError`` for a schema newer than this code."""
    from alembic import command

    with engine.execution_options(sluice_writing=True).begin() as connection:
        if _is_postgresql(engine):
            connection.execute(text("SELECT pg_advisory_xact_lock(7583720)"))
        config = migration_config(connection)
        _refuse_strange(connection)
        _refuse_newer(connection, config)
        command.upgrade(config, revision)
        _check_foreign_keys(connection)
        _log.info("database migrated revision=%s", HEAD)


def _check_foreign_keys(connection: Connection) -> None:
    """They are off while scripts run on SQLite, so that a table can be rebuilt; nothing may be left dangling."""
    if connection.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise InternalError(
            f"the migration left {len(broken)} rows that refer to nothing, first in {broken[0][0]}", hint="Nothing was changed."
        )


def migration_config(connection: Connection | None = None) -> Any:
    """Alembic's configuration for the packaged scripts; no alembic.ini is read."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "registry:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _refuse_strange(connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise ConfigurationError(
            f"the database {connection.engine.url.render_as_string()} belongs to another program: it has the tables {', '.join(tables[:5])}",
            hint="Give Sluice a database of its own. This one was not changed.",
        )


def _refuse_newer(connection: Connection, config: Any) -> None:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the database {connection.engine.url.render_as_string()} is newer than this Sluice: it has revision {current}, this code knows {HEAD}",
            hint="Use the Sluice that made it or a newer one, or another home. The database was not changed.",
            revision=current,
            known=HEAD,
        )


# ------------------------------------------------------------------------------------------------------------------ errors


@contextmanager
def _translated(url: URL, *, reading: bool = False) -> Iterator[None]:
    """Turns what SQLAlchemy and the drivers raise into the error tree, with the cause kept."""
    try:
        yield
    except SluiceError:
        raise
    except (StatementError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, StatementError) else error
        if isinstance(cause, SluiceError):  # raised by one of our column types
            raise cause from None
        raise _translate(error, str(cause), url, reading) from error
    except PoolTimeoutError as error:
        raise UnavailableError("every connection to the database is in use", hint="Try again when fewer jobs run.") from error
    except SQLAlchemyError as error:
        raise InternalError(f"the registry failed: {error}") from error
    except (UnicodeEncodeError, OverflowError) as error:
        if not _raised_by_the_driver(error):
            raise
        raise RequestError(f"a value cannot be stored: {error}", hint="Texts must be valid Unicode, numbers fit into 64 bits.") from error


def _raised_by_the_driver(error: BaseException) -> bool:
    """Drivers let these through as they are; the same errors of a caller's own code are none of ours."""
    return any(frame.f_globals.get("__name__") in _CALLERS_OF_DRIVERS for frame, _line in walk_tb(error.__traceback__))


def _translate(error: Exception, said: str, url: URL, reading: bool) -> SluiceError:
    said = " ".join(said.split())
    if isinstance(error, (IntegrityError, sqlite3.IntegrityError)):
        return ConflictError(f"the registry refused the change: {said}", hint=_integrity_hint(said))
    if isinstance(error, (DataError, sqlite3.DataError)):
        return RequestError(f"a value cannot be stored: {said}", hint="Texts must be valid Unicode without NUL, numbers fit into 64 bits.")
    if not isinstance(error, (DBAPIError, sqlite3.Error)):
        return InternalError(f"the registry failed: {said}")
    shown = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    if re.search(r"database (table )?is locked", said):
        return UnavailableError(
            f"the database {shown} was locked by another writer for too long",
            hint="Try again; `lsof` on the file says who has it open.",
        )
    if "disk is full" in said or "No space left" in said:
        return UnavailableError(f"the disk with the database {shown} is full", hint="Free space on it and try again.", reason="disk_full")
    if "disk I/O error" in said:
        return UnavailableError(f"the disk with the database {shown} failed: {said}", hint="Look at the disk and its free space.")
    return _translate_unusable(said, url, reading)


def _translate_unusable(said: str, url: URL, reading: bool) -> SluiceError:
    if ("readonly database" in said and reading) or "read-only transaction" in said:
        return InternalError(f"something was written inside reading(): {said}")
    if re.search(r"readonly database|unable to open database file", said):
        return _unusable(url, said)
    if re.search(r"not a database|malformed|file is encrypted", said):
        return _unusable(url, f"it is damaged or no SQLite file ({said})", "Restore the file from a backup, or name another with --home.")
    if url.get_backend_name() != "sqlite" and re.search(r"connect|could not translate host|shutting down|starting up|deadlock", said):
        return UnavailableError(f"the database {url.render_as_string()} does not answer: {said}", hint="Is the server running?")
    return InternalError(f"the registry failed: {said}")


def _integrity_hint(said: str) -> str:
    if "FOREIGN KEY" in said.upper():
        return "Something it refers to does not exist, or something still refers to it."
    return "The name is taken, or it was stored at the same moment by another program."


def _unusable(url: URL, why: str, hint: str = "The file and its folder must exist and be writable by you.") -> ConfigurationError:
    return ConfigurationError(f"the database {url.database} cannot be used: {why}", hint=hint, path=str(url.database))

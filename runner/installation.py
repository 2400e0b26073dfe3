"""The parts of one installation, made when first needed: a command that lists jobs loads no engine."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from contracts.connection import Connection
from contracts.errors import ConfigurationError
from contracts.gpu import Snapshot
from contracts.seams import Dialect, Engine, ExitWatch, Format, GpuSource, Store, StoreSite
from registry import leases
from registry.database import Database
from registry.jobs import JobRecord
from runner.bell import Bell
from runner.containers import ContainerBook
from runner.dropped import Dropped
from runner.gpus import GpuPool
from runner.gpus.claims import Claims, merged
from runner.listeners import Dispatcher, load_listeners
from runner.loading import load, load_all
from runner.locks import try_lock
from runner.recent import Recent
from runner.run_dir import RunDir
from runner.settings import Settings
from runner.usage_sampler import UsageSampler

#: A command that ends gives the last messages to listeners this long; what is not sent then waits for the next process.
_LAST_MESSAGES_S = 5.0
#: Held by the service of a home for its life.
SERVICE_LOCK = "serve.lock"


class Installation:
    """Settings, database and plugins. Owned by a Runner, which closes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.bell = Bell()
        #: The jobs that are driven in this process, as they stand.
        self.live: dict[str, JobRecord] = {}
        #: Requests that were checked a moment ago, and samples that were read.
        self.recent = Recent(lifetime_s=5.0, size=64)
        self.samples = Recent(lifetime_s=60.0, size=8)
        #: What ended jobs had and nobody needs, on its way out.
        self.dropped = Dropped(self.home)
        #: The service's book of containers; None in a process that asks the engine itself.
        self.containers: ContainerBook | None = None
        self._engines: dict[str, Engine] = {}
        self._dialects: dict[str, Dialect] = {}
        self._making = threading.RLock()  # many drivers begin at once, and each part is to be made by one of them
        self._make_home()

    def _make_home(self) -> None:
        try:
            for folder in ("assets", "datasets", "evaluations", "models", "predictions", "runs"):
                (self.home / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the home {self.home} cannot be used: {error.strerror}", hint="Name a writable folder with --home or SLUICE_HOME."
            ) from error

    @cached_property
    def id(self) -> str:
        """Tells this installation's containers from another's on the same engine; made once, kept in the home."""
        file = self.home / "installation"
        if not file.exists():
            _write_once(file, secrets.token_hex(8))
        return file.read_text(encoding="ascii")

    @cached_property
    def database(self) -> Database:
        return Database.open(self.settings.database_url)

    @property
    def engine(self) -> Engine:
        """The engine of the settings: where images are looked for and built."""
        return self.engine_named(self.settings.engine)

    def engine_named(self, name: str) -> Engine:
        """The engine an image was registered with, and so its jobs run on; made once."""
        with self._making:
            if name not in self._engines:
                self._engines[name] = load("engine", name, Engine)(self.home / name)  # type: ignore[type-abstract]
            return self._engines[name]

    @cached_property
    def gpu_source(self) -> GpuSource:
        return load("gpu source", self.settings.gpus, GpuSource)()  # type: ignore[type-abstract]

    @cached_property
    def gpus(self) -> GpuPool:
        settings = self.settings
        return GpuPool(
            source=self.gpu_source,
            claims=self._gpu_claims,
            database=self.database,
            host=self.host,
            idle_bytes=settings.gpu_idle_bytes,
            lock_file=Path(settings.gpu_lock),
            xid_policy=Path(settings.xid_policy).expanduser() if settings.xid_policy else None,
        )

    def _gpu_claims(self) -> Claims:
        """Of the home's engine, and of others that jobs with leases are on. Raises ``EngineError`` when one of them does not answer."""
        with self.database.reading() as session:
            names = leases.engines(session, self.host) - {self.settings.engine}
        return merged([self.engine.gpu_claims(), *(self.engine_named(name).gpu_claims() for name in sorted(names))])

    def watch(self, engine: Engine, name: str, container_id: str) -> ExitWatch:
        """A wait for the end of a container: by the book where there is one, else a question to the engine of its own."""
        if self.containers is not None and engine is self.engine:
            return self.containers.watch(name)
        return engine.watch(container_id)

    def is_served(self) -> bool:
        """Whether a service, in this process or another, looks after this home."""
        if self.containers is not None:
            return True
        try:
            with (self.home / SERVICE_LOCK).open() as file:
                return not try_lock(file.fileno(), shared=True)
        except FileNotFoundError:
            return False

    def has_open_leases(self) -> bool:
        """Asked before the GPUs are: a host without any need not load their plugin."""
        with self.database.reading() as session:
            return bool(leases.list_open(session, self.host))

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Sends what listeners are to be told, when started."""
        return Dispatcher(self.database, load_listeners(self.settings))

    def start_helpers(self) -> None:
        """What goes on beside running jobs: samples of what they use, messages to listeners. May be repeated."""
        with self._making:
            if "usage" not in self.__dict__:
                self.usage.start()
                self.dropped.resume()
                if self.settings.listeners:
                    self.dispatcher.start()

    def kick_listeners(self) -> None:
        """There may be something to tell."""
        if "dispatcher" in self.__dict__:
            self.dispatcher.kick()

    def _stop_helpers(self) -> None:
        """Also while a driver, which may outlive a command that is left, has just begun to start them."""
        with self._making:
            if "dispatcher" in self.__dict__:
                self.dispatcher.drain(_LAST_MESSAGES_S)
                self.dispatcher.stop()
            if "usage" in self.__dict__:
                self.usage.stop()

    @cached_property
    def usage(self) -> UsageSampler:
        """Samples what running jobs use, when started."""
        return UsageSampler(self._gpu_snapshot, self.settings.usage_interval_s)

    def _gpu_snapshot(self) -> Snapshot:
        return self.gpu_source.snapshot()

    @cached_property
    def store(self) -> Store:
        """Where assets lie. A connection is looked up for a store that is elsewhere only."""
        from runner import connections

        settings = self.settings
        named = settings.store != "local" and settings.store_connection
        connection = connections.get(self, settings.store_connection) if named else Connection()
        site = StoreSite(self.home, self.id, settings.store_address, connection, settings.cache_bytes)
        return load("store", settings.store, Store).open(site)  # type: ignore[type-abstract]

    @cached_property
    def formats(self) -> dict[str, Format]:
        return {name: plugin() for name, plugin in load_all("format", Format).items()}  # type: ignore[type-abstract]

    def dialect(self, name: str) -> Dialect:
        """Pure functions, so one is enough for all."""
        with self._making:
            if name not in self._dialects:
                self._dialects[name] = load("dialect", name, Dialect)()  # type: ignore[type-abstract]
            return self._dialects[name]

    @cached_property
    def host(self) -> str:
        return socket.gethostname()

    @cached_property
    def host_memory_bytes(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def run_dir(self, job_id: str) -> RunDir:
        return RunDir(self.home / "runs" / job_id)

    def folder(self, stored: str) -> Path:
        """A folder as the registry keeps it: relative to the home, so that the home can be moved."""
        return self.home / stored

    def close(self) -> None:
        """May be repeated. Parts that were never made are not made now."""
        made = self.__dict__
        self._stop_helpers()
        self.dropped.close()
        for engine in self._engines.values():
            engine.close()
        if "gpu_source" in made:
            self.gpu_source.close()
        if "database" in made:
            self.database.close()


def _write_once(file: Path, text: str) -> None:
    """Whole or not at all, and of several writers at once the first one wins."""
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    aside.write_text(text, encoding="ascii")
    with suppress(FileExistsError):
        os.link(aside, file)
    aside.unlink()

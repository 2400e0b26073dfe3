"""``sluice serve``: one process for months, which may be killed at any moment.

Reconcile first, accept later: every unfinished job has a driver before the first request is read. Threads: the scheduler, the reconciler
with its book of containers, one driver per running job, the usage sampler, the dispatcher of messages, the doors.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from contracts.errors import ConflictError, UnavailableError
from registry.jobs import JobRecord
from registry.queued import QueuedJob
from runner.addresses import parse_address, refuse_unusable
from runner.containers import ContainerBook
from runner.drivers import Drivers
from runner.installation import SERVICE_LOCK, Installation
from runner.locks import try_lock
from runner.metrics import Metrics
from runner.reconcile import Reconciler
from runner.rpc import RpcServer, check_tcp
from runner.scheduler import Scheduler
from runner.service import Runner
from runner.service_log import configure_service_log
from runner.settings import Settings
from runner.socket_file import choose_socket

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0


def serve(settings: Settings, on_ready: Callable[[list[str]], None] = lambda _: None) -> int:
    """Until SIGTERM or SIGINT; running jobs go on without the service and are adopted by the next. ``on_ready`` gets the addresses.

    Raises ``ConflictError`` when another service has this home.
    """
    configure_service_log(settings.log_format)
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with Service(settings) as service:
        on_ready(service.addresses)
        stop.wait()
        log.info("stopping: running jobs go on and are adopted by the next service")
    return 0


class Service:
    """The parts of a running service; use it as a context manager. ``addresses``: where it listens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = threading.Event()
        self._due = threading.Event()
        self._parts = ExitStack()
        self.addresses: list[str] = []

    def __enter__(self) -> Service:
        with self._parts:  # what was started is stopped again when a later part fails
            self._start()
            self._parts = self._parts.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._due.set()
        self._parts.close()

    def _start(self) -> None:
        _refuse_wrong_doors(self._settings)
        installation = Installation(self._settings)
        self._parts.callback(installation.close)
        self._parts.enter_context(_only_service(installation.home))
        self._claim_addresses(installation)
        book = self._watch_containers(installation)
        self._scheduler = Scheduler(installation, lambda: book.silent)
        self._parts.callback(self._scheduler.close)
        self._drivers = Drivers(installation, None, self._on_end)
        self._parts.callback(self._drivers.let_go)
        self._reconciler = Reconciler(installation, self._drivers)
        self._parts.callback(self._reconciler.close)
        log.info("adopted %d jobs", self._reconciler.adopt())
        book.start()
        self._book = book
        self.runner = self._make_runner(installation)
        self._start_thread(self._reconcile_for_ever, "reconciler")
        self._start_thread(self._schedule_for_ever, "scheduler")
        self._start_doors(installation)

    def _claim_addresses(self, installation: Installation) -> None:
        """Before any job is touched: a service that cannot listen is of no use, and must not begin what the right one would do."""
        choose_socket(self._settings)
        if self._settings.listen_tcp:
            refuse_unusable(parse_address(self._settings.listen_tcp, "listen_tcp"), "listen_tcp")
        self._metrics = Metrics(installation)
        if self._settings.metrics_listen:
            self.addresses.append(f"metrics {self._metrics.start(self._settings.metrics_listen)}")
            self._parts.callback(self._metrics.stop)

    def _watch_containers(self, installation: Installation) -> ContainerBook:
        book = ContainerBook(installation.engine, {"sluice.installation": installation.id})
        book.look()
        self._parts.callback(book.close)
        installation.containers = book
        return book

    def _make_runner(self, installation: Installation) -> Runner:
        runner = Runner(installation, scheduler=self._scheduler, drivers=self._drivers)
        runner.on_submit = self._on_submit
        runner.on_cancel = self._on_cancel
        return runner

    def _start_doors(self, installation: Installation) -> None:
        installation.start_helpers()
        server = RpcServer(self.runner, self._settings)
        self.addresses += server.start()
        self._parts.callback(server.stop, 2.0)

    # ---------------------------------------------------------------------------------------------------------- the loops

    def _start_thread(self, action: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=action, name=name, daemon=True)
        thread.start()
        self._parts.callback(self._end_thread, thread)

    def _end_thread(self, thread: threading.Thread) -> None:
        self._closing.set()
        self._due.set()
        thread.join(timeout=10.0)

    def _schedule_for_ever(self) -> None:
        """At once when a job came or ended, else each second, so that what other processes did is seen too.

        Looks take half of the time at most: while thousands wait, each is long, and those who submit more of them need the processor too.
        """
        while not self._closing.is_set():
            self._due.wait(_LOOK_EVERY_S)
            self._due.clear()
            if self._closing.is_set():
                return
            begin = time.monotonic()
            try:
                with self._metrics.time_tick():
                    admitted = self._scheduler.tick() if self._scheduler.hold() else []
                self._drivers.adopt(admitted)
            except Exception:
                log.exception("the queue could not be worked on")
                self._closing.wait(_LOOK_EVERY_S)
            self._closing.wait(min(time.monotonic() - begin, _LOOK_EVERY_S))

    def _reconcile_for_ever(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            try:
                self._reconciler.adopt()
                if not self._book.silent:
                    with self._metrics.time_reconcile():
                        self._reconciler.look(self._book.list())
            except Exception:
                log.exception("jobs and containers could not be compared")

    # -------------------------------------------------------------------------------------------------------- from the doors

    def _on_submit(self, job: JobRecord) -> None:
        self._scheduler.submitted(_queued(job))
        self._due.set()

    def _on_end(self, job_id: str) -> None:
        self._due.set()
        self._metrics.observe_end(job_id)

    def _on_cancel(self, job: JobRecord) -> None:
        """One that waits has no driver yet: it gets one, which ends it."""
        self._scheduler.forget(job.id)
        self._drivers.ensure(job.id)


def _refuse_wrong_doors(settings: Settings) -> None:
    """What the settings and the files that they name tell, before even the home is opened."""
    if settings.listen_tcp:
        check_tcp(settings)
    if settings.metrics_listen:
        parse_address(settings.metrics_listen, "metrics_listen")


def _queued(job: JobRecord) -> QueuedJob:
    return QueuedJob(
        job.id,
        str(job.kind),
        job.user,
        job.project,
        job.priority,
        job.created_at,
        job.attempt,
        job.gpu_count,
        job.cpu_count,
        job.memory_bytes,
        job.gpu_wish,
        job.spec.get("timeout_s"),
        job.not_before,
        job.admitted_at,
        job.gpu_uuids,
        job.cancel_requested_at is not None,
    )


@contextmanager
def _only_service(home: Path) -> Iterator[None]:
    """The lock of a home's service; its file says who holds it."""
    try:
        opened = (home / SERVICE_LOCK).open("a+")
    except OSError as error:
        raise UnavailableError(f"{home / SERVICE_LOCK} cannot be written: {error.strerror}", hint="Is the home read-only?") from error
    with opened as file:
        if not try_lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ConflictError(
                f"a service has the home {home} already (process {holder})",
                hint="Stop that one, or choose another --home.",
                process=holder,
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield

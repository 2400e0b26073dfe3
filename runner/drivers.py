"""The jobs that threads of this process drive, one thread each, each under the lock of the job's run directory."""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Callable, Iterable
from typing import IO

from contracts.errors import UnavailableError
from contracts.job import EndReason
from registry import jobs
from registry.jobs import JobRecord
from runner.execute import Attempt
from runner.installation import Installation
from runner.journal import Orders
from runner.scheduler import Scheduler
from runner.service_log import log_context

log = logging.getLogger(__name__)


class Driver:
    """Drives one job to its end in a thread of its own. When the process ends, the container goes on.

    ``lock`` and ``job``: what was taken and read before the thread starts; without them it does so itself. ``error``: why it stopped before
    the job's end.
    """

    def __init__(self, drivers: Drivers, job_id: str, wait_for_lock_s: float = 0.0) -> None:
        self._drivers = drivers
        self._over = threading.Event()
        self._thread_id = 0
        self.job_id = job_id
        self.wait_for_lock_s = wait_for_lock_s
        self.lock: IO[str] | None = None
        self.job: JobRecord | None = None
        self.orders = Orders()
        self.error: BaseException | None = None

    def start(self) -> None:
        """Does not wait until the thread runs, as ``threading.Thread`` does: on a busy machine a hundred such waits take most of a second."""
        _thread.start_new_thread(self._run, ())

    def is_alive(self) -> bool:
        return not self._over.is_set()

    def join(self, timeout_s: float | None = None) -> None:
        """Until it has stopped; at once in its own thread."""
        if self._thread_id != threading.get_ident():
            self._over.wait(timeout_s)

    def _run(self) -> None:
        self._thread_id = threading.get_ident()
        try:
            with log_context(job=self.job_id):
                self._drive()
            self._drivers.ended(self)
        finally:
            self.let_go()

    def _drive(self) -> None:
        try:
            self._drivers.drive(self)
        except BaseException as error:
            self.stopped(error)
        finally:
            self.unlock()

    def stopped(self, error: BaseException) -> None:
        """By an error: the job is carried on later, by another driver."""
        self.error = error
        if isinstance(error, (UnavailableError, OSError)):  # a full disk, a database that is away: it is carried on when that is over
            log.warning("the driver of job %s stopped: %s", self.job_id, error)
        else:
            log.exception("the driver of job %s stopped", self.job_id)

    def unlock(self) -> None:
        """Another driver may carry the job on."""
        if self.lock is not None:
            self.lock.close()

    def let_go(self) -> None:
        """It has stopped, or will never start."""
        self.unlock()
        self._over.set()


class Drivers:
    """Safe to share between threads.

    With ``scheduler`` the drivers wait for their jobs' admission and do the scheduling meanwhile; without one they drive only what was admitted
    (or cancelled), and ``on_end`` hears of each that ended.
    """

    def __init__(self, installation: Installation, scheduler: Scheduler | None, on_end: Callable[[str], None] = lambda _: None) -> None:
        self._installation = installation
        self._scheduler = scheduler
        self._on_end = on_end
        self._lock = threading.Lock()
        self._by_job: dict[str, Driver] = {}

    def ensure(self, job_id: str, wait_for_lock_s: float = 0.0) -> Driver:
        """The driver of the job; a new one when this process has none."""
        with self._lock:
            driver = self._by_job.get(job_id)
            if driver is None:
                driver = Driver(self, job_id, wait_for_lock_s)
                driver.start()
                self._by_job[job_id] = driver
            return driver

    def adopt(self, job_ids: Iterable[str]) -> int:
        """Drives those of these jobs that nobody drives; how many.

        Their locks are taken and their rows read by this thread, before any of theirs starts: a hundred threads that do so side by side
        wait for each other most of the time.
        """
        new = self._reserve(job_ids)
        waiting = dict(new)
        try:
            taken = {job_id: driver for job_id, driver in new.items() if self._take_lock(driver)}
            for job in self._read(taken) if taken else ():
                taken[job.id].job = job
                taken[job.id].start()
                del waiting[job.id]
        finally:
            for driver in waiting.values():
                self._forget(driver)
        return len(new) - len(waiting)

    def find(self, job_id: str) -> Driver | None:
        with self._lock:
            return self._by_job.get(job_id)

    def driven(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._by_job)

    def order_end(self, job_id: str, reason: EndReason, message: str) -> None:
        """End the job's container for this reason; nothing when this process does not drive it."""
        if driver := self.find(job_id):
            driver.orders.end(reason, message)

    def news(self, job_id: str) -> None:
        """The job was changed (a cancel): look now."""
        if driver := self.find(job_id):
            driver.orders.news.set()

    def let_go(self, job_ids: Iterable[str] | None = None, timeout_s: float = 10.0) -> None:
        """Stop driving these jobs (None: all); their containers go on."""
        chosen = [driver for job_id in (self.driven() if job_ids is None else job_ids) if (driver := self.find(job_id))]
        for driver in chosen:
            driver.orders.let_go.set()
            self._installation.bell.ring(driver.job_id)
        for driver in chosen:
            driver.join(timeout_s)

    # How jobs are adopted.

    def _reserve(self, job_ids: Iterable[str]) -> dict[str, Driver]:
        """New drivers of the jobs that have none in this process: from now on they have one."""
        with self._lock:
            new = {job_id: Driver(self, job_id) for job_id in job_ids if job_id not in self._by_job}
            self._by_job |= new
        return new

    def _take_lock(self, driver: Driver) -> bool:
        try:
            driver.lock = self._installation.run_dir(driver.job_id).take()
        except OSError as error:
            driver.stopped(error)
        return driver.lock is not None

    def _read(self, job_ids: Iterable[str]) -> list[JobRecord]:
        """As they stand now."""
        with self._installation.database.reading() as session:
            return jobs.find_jobs(session, job_ids)

    def _forget(self, driver: Driver) -> None:
        with self._lock:
            self._by_job.pop(driver.job_id, None)
        driver.let_go()

    # What a driver does.

    def drive(self, driver: Driver) -> None:
        """To the job's end, or until it waits for another admission that is not ours to give; at once when another process drives it."""
        if driver.lock is None:
            driver.lock = self._installation.run_dir(driver.job_id).take(driver.wait_for_lock_s)
        again, job = driver.lock is not None, driver.job
        while again and not driver.orders.let_go.is_set():
            job = job or self._reload(driver.job_id)
            if job.state.ended or not (self._scheduler or job.admitted_at or job.cancel_requested_at):
                return
            again, job = Attempt(self._installation, job, driver.orders, self._scheduler).run(), None

    def _reload(self, job_id: str) -> JobRecord:
        with self._installation.database.reading() as session:
            return jobs.get_job(session, job_id)

    def ended(self, driver: Driver) -> None:
        with self._lock:
            self._by_job.pop(driver.job_id, None)
        self._installation.live.pop(driver.job_id, None)
        self._installation.bell.forget(driver.job_id)
        self._on_end(driver.job_id)

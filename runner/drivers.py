"""The jobs that threads of this process drive, one thread each, each under the lock of the job's run directory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

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


class Driver(threading.Thread):
    """Drives one job to its end. A daemon: when the process ends, the container goes on. ``error``: why it stopped before the job's end."""

    def __init__(self, drivers: Drivers, job_id: str, wait_for_lock_s: float) -> None:
        super().__init__(name=f"job {job_id}", daemon=True)
        self._drivers = drivers
        self.job_id = job_id
        self._wait_for_lock_s = wait_for_lock_s
        self.orders = Orders()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with log_context(job=self.job_id):
                self._drivers.drive(self.job_id, self.orders, self._wait_for_lock_s)
        except BaseException as error:
            self.error = error
            if isinstance(error, (UnavailableError, OSError)):  # a full disk, a database that is away: it is carried on when that is over
                log.warning("the driver of job %s stopped: %s", self.job_id, error)
            else:
                log.exception("the driver of job %s stopped", self.job_id)
        finally:
            self._drivers.ended(self.job_id)


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
        self._reading = threading.Lock()
        self._wanted: set[str] = set()
        self._read: dict[str, JobRecord] = {}

    def ensure(self, job_id: str, wait_for_lock_s: float = 0.0) -> Driver:
        """The driver of the job; a new one when this process has none."""
        with self._lock:
            driver = self._by_job.get(job_id)
            if driver is None:
                driver = self._by_job[job_id] = Driver(self, job_id, wait_for_lock_s)
                driver.start()
            return driver

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
            if driver is not threading.current_thread():
                driver.join(timeout_s)

    # What a driver does.

    def drive(self, job_id: str, orders: Orders, wait_for_lock_s: float) -> None:
        """To the job's end, or until it waits for another admission that is not ours to give; at once when another process drives it."""
        with self._installation.run_dir(job_id).driving(wait_for_lock_s) as taken:
            again = taken
            while again and not orders.let_go.is_set():
                job = self._reload(job_id)
                if job.state.ended or not (self._scheduler or job.admitted_at or job.cancel_requested_at):
                    return
                again = Attempt(self._installation, job, orders, self._scheduler).run()

    def ended(self, job_id: str) -> None:
        with self._lock:
            self._by_job.pop(job_id, None)
        self._installation.live.pop(job_id, None)
        self._installation.bell.forget(job_id)
        self._on_end(job_id)

    def _reload(self, job_id: str) -> JobRecord:
        """As it stands now. Of many drivers that start at once, the one that gets the turn reads for all who asked before it began."""
        with self._lock:
            self._wanted.add(job_id)
        with self._reading:
            if job_id not in self._read:
                self._read_wanted(job_id)
            return self._read.pop(job_id)

    def _read_wanted(self, job_id: str) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, set()
        with self._installation.database.reading() as session:
            self._read |= {job.id: job for job in jobs.find_jobs(session, wanted)}
            if job_id not in self._read:
                self._read[job_id] = jobs.get_job(session, job_id)

"""What Prometheus finds at ``metrics_listen``. docs/notes/telemetry.md lists the metrics.

Gauges are read from the database, the disk and the books of cards at each scrape, so that a restart loses nothing. Counters and histograms
are this process's own and begin anew with it. No label has more values than the program has words: no job, user, project or image.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts.image import Kind
from contracts.job import JobState
from registry import deliveries, jobs
from registry.job_counts import count_unfinished
from registry.jobs import JobRecord
from registry.tables import now
from runner.addresses import cannot_listen, parse_address
from runner.installation import Installation

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_LONG = (1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 3 * DAY)
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: How long a scrape waits for the cards: a driver that hangs must not cost the other metrics.
_GPUS_WITHIN_S = 2.0
#: More different values of a label than this become ``other``.
_MOST_VALUES = 64

_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one service. The ``observe`` methods may be called from any thread and never raise."""

    def __init__(self, installation: Installation, gpu_states: Callable[[], Mapping[str, int]] | None = None) -> None:
        """``gpu_states``: cards by state; by default as ``sluice gpu list`` has them."""
        self._installation = installation
        self.registry = CollectorRegistry()
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self._values: dict[str, set[str]] = {}
        self._make_own()
        self.registry.register(_Scraped(installation, gpu_states or (lambda: _states_of(installation)), self._scrape_errors))
        ProcessCollector(registry=self.registry)

    def _make_own(self) -> None:
        own = self.registry
        self._scrape_errors = Counter("sluice_scrape_errors", "Parts of a scrape that failed and were left out.", ["part"], registry=own)
        self._ended = Counter("sluice_jobs_ended", "Jobs that this process saw end.", ["kind", "end_reason"], registry=own)
        self._retries = Counter("sluice_job_retries", "Attempts that were followed by another, by cause.", ["end_reason"], registry=own)
        self._wait = _histogram(own, "sluice_queue_wait_seconds", "From the submission of an attempt to its admission.", ["kind"], _LONG)
        self._duration = _histogram(own, "sluice_job_duration_seconds", "From the start of a job to its end.", ["kind"], _LONG)
        self._calls = Counter("sluice_rpc_calls", "Requests answered, by method and status code.", ["method", "code"], registry=own)
        self._call_time = _histogram(own, "sluice_rpc_duration_seconds", "How long an answer took.", ["method"], _SHORT)
        self._tick = _histogram(own, "sluice_scheduler_tick_seconds", "One look at the queue.", [], _SHORT)
        self._reconcile = _histogram(own, "sluice_reconcile_seconds", "One comparison of jobs and containers.", [], _SHORT)
        build = Gauge("sluice_build_info", "Always 1; what runs.", ["version", "python"], registry=own)
        build.labels(version("sluice"), ".".join(map(str, sys.version_info[:3]))).set(1)

    # ------------------------------------------------------------------------------------------------------------- the door

    def start(self, listen: str) -> str:
        """Answer at ``host:port`` and nowhere else; returns the address, with the port that port 0 became. Raises ``ConfigurationError``."""
        address = parse_address(listen, "metrics_listen")
        try:
            server, thread = start_http_server(address.port, address.host, self.registry)
        except OSError as error:
            raise cannot_listen(address, "metrics_listen", error.strerror or str(error)) from error
        self._server = server, thread
        return str(replace(address, port=server.server_port))

    def stop(self) -> None:
        """May be repeated."""
        if self._server:
            server, thread = self._server
            self._server = None
            server.shutdown()
            server.server_close()
            thread.join()

    # ------------------------------------------------------------------------------------------------------- what others tell

    def observe_end(self, job_id: str) -> None:
        """A job of this process ended: its end, wait, duration and retries. Call it once for each."""
        try:
            with self._installation.database.reading() as session:
                job = jobs.find_job(session, job_id)
                attempts = jobs.list_attempts(session, job_id)
        except Exception as error:
            _log.warning("the end of job %s is not counted: %s", job_id, error)
            return
        if job is None or job.end_reason is None:
            return
        self._ended.labels(str(job.kind), str(job.end_reason)).inc()
        for attempt in attempts:
            self._retries.labels(str(attempt.end_reason)).inc()
        self._observe_times(job)

    def observe_rpc(self, method: str, code: str, seconds: float) -> None:
        """A request was answered. ``method`` is one that the service has, ``code`` the name of a gRPC status."""
        method = self._bounded("method", method)
        self._calls.labels(method, self._bounded("code", code)).inc()
        self._call_time.labels(method).observe(seconds)

    def time_tick(self) -> AbstractContextManager[Any]:
        """``with metrics.time_tick():`` around one look at the queue."""
        return self._tick.time()

    def time_reconcile(self) -> AbstractContextManager[Any]:
        """``with metrics.time_reconcile():`` around one comparison of jobs and containers."""
        return self._reconcile.time()

    def _observe_times(self, job: JobRecord) -> None:
        submitted = job.not_before if job.attempt > 1 and job.not_before else job.created_at
        if job.admitted_at:
            self._wait.labels(str(job.kind)).observe(_seconds(submitted, job.admitted_at))
        if job.started_at and job.ended_at:
            self._duration.labels(str(job.kind)).observe(_seconds(job.started_at, job.ended_at))

    def _bounded(self, label: str, value: str) -> str:
        seen = self._values.setdefault(label, set())
        if value not in seen and len(seen) >= _MOST_VALUES:
            return "other"
        seen.add(value)
        return value


class _Scraped(Collector):
    """What is read when Prometheus asks."""

    def __init__(self, installation: Installation, gpu_states: Callable[[], Mapping[str, int]], errors: Counter) -> None:
        self._installation = installation
        self._gpus = _InTime(gpu_states, _GPUS_WITHIN_S)
        self._errors = errors
        self._states_seen: set[str] = set()

    def collect(self) -> Iterable[Metric]:
        parts = {"jobs": self._jobs, "gpus": self._gpu_states, "disk": self._disk, "deliveries": self._deliveries}
        for name, part in parts.items():
            try:
                yield from list(part())
            except Exception as error:
                _log.warning("the metrics of %s cannot be read: %s", name, error)
                self._errors.labels(name).inc()

    def _jobs(self) -> Iterator[Metric]:
        with self._installation.database.reading() as session:
            found = count_unfinished(session)
        family = GaugeMetricFamily("sluice_jobs", "Jobs that have not ended.", labels=["state", "kind"])
        for state in (JobState.QUEUED, JobState.RUNNING):
            for kind in Kind:
                family.add_metric([str(state), str(kind)], found.by_state.get((state, str(kind)), 0))
        yield family
        yield GaugeMetricFamily("sluice_queue_jobs", "Jobs that are not admitted.", found.waiting)
        wait_s = _seconds(found.waiting_since, now()) if found.waiting_since else 0.0
        yield GaugeMetricFamily("sluice_queue_oldest_wait_seconds", "How long the first of them waits; 0 when none does.", wait_s)

    def _gpu_states(self) -> Iterator[Metric]:
        found = self._gpus.read()
        self._states_seen |= set(found)
        family = GaugeMetricFamily("sluice_gpus", "GPUs by state.", labels=["state"])
        for state in sorted(self._states_seen):
            family.add_metric([state], found.get(state, 0))
        yield family

    def _disk(self) -> Iterator[Metric]:
        usage = shutil.disk_usage(self._installation.home)
        yield GaugeMetricFamily("sluice_home_free_bytes", "Free on the disk of the home.", usage.free)
        yield GaugeMetricFamily("sluice_home_size_bytes", "Size of the disk of the home.", usage.total)
        floor = self._installation.settings.disk_floor_bytes
        yield GaugeMetricFamily("sluice_home_floor_bytes", "No job starts while less is free.", floor)

    def _deliveries(self) -> Iterator[Metric]:
        with self._installation.database.reading() as session:
            waiting = deliveries.count_waiting(session)
        family = GaugeMetricFamily("sluice_deliveries_waiting", "Messages that a listener did not take yet.", labels=["listener"])
        for listener in self._installation.settings.listeners.split():
            family.add_metric([listener], waiting.get(listener, 0))
        yield family


class _InTime:
    """An answer within some seconds, or ``TimeoutError``. A question that hangs is not asked again until it has come back."""

    def __init__(self, ask: Callable[[], Mapping[str, int]], timeout_s: float) -> None:
        self._ask, self._timeout_s = ask, timeout_s
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._answer: Mapping[str, int] | Exception = {}

    def read(self) -> Mapping[str, int]:
        with self._lock:
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(target=self._run, name="metrics of GPUs", daemon=True)
                self._asking.start()
            asking = self._asking
        asking.join(self._timeout_s)
        if asking.is_alive():
            raise TimeoutError(f"no answer within {self._timeout_s:g} s")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:
            self._answer = error


def _states_of(installation: Installation) -> Mapping[str, int]:
    return Count(str(gpu["state"]) for gpu in installation.gpus.list_gpus())


def _histogram(registry: CollectorRegistry, name: str, said: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, said, labels, buckets=buckets, registry=registry)


def _seconds(begin: datetime, end: datetime) -> float:
    return max((end - begin).total_seconds(), 0.0)

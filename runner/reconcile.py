"""Makes what is there agree with what is on record: adopts jobs that nobody drives, removes what ended jobs and former attempts left.

All of it may be repeated, and interrupted anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from contracts.errors import EngineError, SluiceError
from contracts.job import EndReason, JobSpec, container_name
from contracts.seams import ContainerStatus, Engine
from registry import jobs, queued
from runner.drivers import Drivers
from runner.execute import clean_up
from runner.gpus import GpuLost, LeaseHolder, Orphan
from runner.installation import Installation

log = logging.getLogger(__name__)
#: How often the cards and the engines beside the home's are looked at.
_ROUND_EVERY_S = 10.0
_CLEANERS = 4


class Reconciler:
    """One for each process that looks after a home; safe beside others, for every job has its lock and every removal may be repeated."""

    def __init__(self, installation: Installation, drivers: Drivers) -> None:
        self._installation = installation
        self._drivers = drivers
        self._cleaning: set[str] = set()
        self._asked: set[str] = set()
        self._cleaners = ThreadPoolExecutor(_CLEANERS, thread_name_prefix="cleaner")
        self._round_at = 0.0

    def close(self) -> None:
        self._cleaners.shutdown(wait=False, cancel_futures=True)

    # ----------------------------------------------------------------------------------------------------- in the service

    def adopt(self) -> int:
        """Drives every admitted (or cancelled) unfinished job that nobody drives yet; how many there were."""
        with self._installation.database.reading() as session:
            wanted = queued.list_to_drive(session)
        return self._drivers.adopt(wanted)

    def look(self, containers: Sequence[ContainerStatus]) -> None:
        """One look: ended jobs that are not cleaned up, containers without a cause, now and then the cards."""
        self._clean_in_background()
        self._remove_causeless(self._installation.engine, containers)
        if time.monotonic() - self._round_at >= _ROUND_EVERY_S:
            self._round_at = time.monotonic()
            self._look_elsewhere()
            _guarded("the cards", lambda: self._reconcile_gpus(containers))

    def _clean_in_background(self) -> None:
        """Beside the look: the end of a container that hangs must not keep others waiting."""
        for job in self._unclean():
            if job.id not in self._cleaning and job.id not in self._drivers.driven():
                self._cleaning.add(job.id)
                self._cleaners.submit(self._clean_one, job)

    def _clean_one(self, job: jobs.JobRecord) -> None:
        try:
            _guarded(f"what job {job.id} left", lambda: clean_up(self._installation, job))
        finally:
            self._cleaning.discard(job.id)

    def _look_elsewhere(self) -> None:
        """Beside the look: an engine that hangs must not keep others waiting."""
        for name in self._other_engines():
            if name not in self._asked:
                self._asked.add(name)
                self._cleaners.submit(self._look_at, name)

    def _other_engines(self) -> list[str]:
        """Beside the home's, those that jobs are on which are not done with; no other is asked."""
        with self._installation.database.reading() as session:
            return sorted(queued.engines_in_use(session) - {self._installation.settings.engine})

    def _look_at(self, name: str) -> None:
        try:
            _guarded(f"what is on the engine {name}", lambda: self._remove_listed(name))
        finally:
            self._asked.discard(name)

    def _remove_listed(self, name: str) -> None:
        engine = self._installation.engine_named(name)
        self._remove_causeless(engine, engine.list_containers({"sluice.installation": self._installation.id}))

    def _remove_causeless(self, engine: Engine, containers: Sequence[ContainerStatus]) -> None:
        """Containers of former attempts and of jobs that are not on record."""
        with self._installation.database.reading() as session:
            known = queued.known_attempts(session, {c.labels.get("sluice.job", "") for c in containers})
        for container in containers:
            if not _has_cause(container, known) and container.name not in self._cleaning:
                self._remove_soon(engine, container.name)

    def _remove_soon(self, engine: Engine, name: str) -> None:
        self._cleaning.add(name)
        self._cleaners.submit(self._remove_one, engine, name)

    def _remove_one(self, engine: Engine, name: str) -> None:
        try:
            log.info("the container %s belongs to no present attempt: it is stopped and removed", name)
            _guarded(f"the container {name}", lambda: self._remove(engine, name))
        finally:
            self._cleaning.discard(name)

    def _remove(self, engine: Engine, name: str) -> None:
        engine.stop(name, self._installation.settings.stop_grace_s)
        engine.remove(name)

    def _reconcile_gpus(self, containers: Sequence[ContainerStatus]) -> None:
        """Leases without a cause end; a job whose card failed is stopped, and tried again on others."""
        gpus = self._installation.gpus
        self._reclaim()
        for finding in gpus.reconcile(self._lease_holders(containers)):
            log.warning("GPUs: %s", finding)
            if isinstance(finding, GpuLost):
                self._drivers.order_end(finding.job_id, EndReason.GPU_LOST, finding.why)
            elif isinstance(finding, Orphan):
                self._resolve(finding, containers)
        gpus.settle()

    def _resolve(self, orphan: Orphan, containers: Sequence[ContainerStatus]) -> None:
        """A job that goes on gets its lease again; what belongs to none is stopped. Another installation's container is left alone."""
        container = next((container for container in containers if container.name == orphan.container), None)
        if container is None or container.name in self._cleaning:
            return
        attempt = int(container.labels["sluice.attempt"])
        if self._may_need_cards(orphan.job_id, attempt):
            _guarded(f"the container {container.name}", lambda: self._adopt_cards(orphan.job_id, attempt, container.id))
        else:
            self._remove_soon(self._installation.engine, container.name)

    def _adopt_cards(self, job_id: str, attempt: int, container_id: str) -> None:
        with self._installation.database.reading() as session:
            wish = JobSpec.model_validate(jobs.get_job(session, job_id).spec).gpu
        self._installation.gpus.adopt(job_id, attempt, container_id, wish)

    def _lease_holders(self, containers: Sequence[ContainerStatus]) -> list[LeaseHolder]:
        with self._installation.database.reading() as session:
            admitted = queued.list_admitted(session)
        names = {container.name for container in containers}
        holders = [(job, container_name(job.id, job.attempt)) for job in admitted if job.gpu_uuids]
        return [LeaseHolder(job.id, job.attempt, container=name if name in names else "") for job, name in holders]

    # -------------------------------------------------------------------------------------------- in any process, once each

    def clean(self) -> None:
        """What runners that were killed left, in this thread."""
        for job in self._unclean():
            _guarded(f"what job {job.id} left", lambda job=job: clean_up(self._installation, job))  # type: ignore[misc]
        _guarded("former containers", self._remove_former)
        _guarded("leases", self._reclaim)

    def _remove_former(self) -> None:
        with self._installation.database.reading() as session:
            if not jobs.any_retried(session):
                return
        for name in (self._installation.settings.engine, *self._other_engines()):
            self._look_at(name)
        self._cleaners.shutdown(wait=True)

    def _reclaim(self) -> None:
        """Leases of attempts that have ended or were followed by another."""
        if self._installation.has_open_leases():
            self._installation.gpus.reclaim(self._may_need_cards)

    def _may_need_cards(self, job_id: str, attempt: int) -> bool:
        """Asked of each lease at its turn: one that was taken meanwhile belongs to an attempt that is on record by then."""
        with self._installation.database.reading() as session:
            return queued.known_attempts(session, [job_id]).get(job_id) == (attempt, False)

    def _unclean(self) -> list[jobs.JobRecord]:
        with self._installation.database.reading() as session:
            return jobs.list_unclean(session)


def _has_cause(container: ContainerStatus, known: dict[str, tuple[int, bool]]) -> bool:
    """An ended job's container is its clean-up's to remove."""
    attempt, _ended = known.get(container.labels.get("sluice.job", ""), (0, True))
    return str(attempt) == container.labels.get("sluice.attempt")


def _guarded(what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except EngineError as away:
        log.warning("%s must wait until the engine answers: %s", what, away.message)
    except SluiceError as error:
        log.warning("%s: %s", what, error.message)
    except Exception:
        log.exception("%s could not be looked after", what)

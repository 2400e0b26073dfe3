"""Admits jobs: reads the books of cards, processors, memory and disk, asks the queue who is next, and takes the leases.

One scheduler at a time works on a home: it holds ``<home>/scheduler.lock``. ``sluice serve`` holds it for its life; without a service every
process that drives a job works as the scheduler whenever it gets the lock, so the order is the same in both.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import IO

from contracts.errors import EngineError, GpuSourceError, NoGpuError, UnavailableError
from contracts.image import Kind
from contracts.job import GpuWish
from registry import jobs, leases, queued, shares
from registry.leases import LeaseState
from registry.queued import QueuedJob
from runner.gpus.books import Books
from runner.installation import Installation
from runner.locks import try_lock
from runner.queue import Entry, Host, Offer, Queue, Running, Share, Start, use_rate

log = logging.getLogger(__name__)
#: Up to this many, every tick reads all waiting jobs; beyond it only new ones, and all once in a while.
_READ_ALL_UP_TO = 2000
_READ_ALL_EVERY_S = 30.0
#: A job may be committed a little after another with a later time of submission.
_LATE_COMMIT = timedelta(seconds=10)
_CHARGE_EVERY_S = 10.0
_LOOK_EVERY_S = 0.9
#: Whose the jobs are that were submitted before jobs had users.
_NOBODY = "nobody"


class Scheduler:
    """Safe to share between threads; ``engine_silent`` tells why the engine does not answer, '' when it does or is not watched."""

    def __init__(self, installation: Installation, engine_silent: Callable[[], str] = lambda: "") -> None:
        settings = installation.settings
        self._installation = installation
        self._engine_silent = engine_silent
        self._queue = Queue(hold_after_s=settings.hold_after_s)
        self._lock = threading.RLock()
        self._read_all_at = 0.0
        self._looked_at = 0.0
        self._newest: datetime | None = None
        self._charged_at = time.time()
        self._attempts: dict[str, int] = {}
        self._arrived: deque[QueuedJob] = deque()
        self._with_gpus: set[str] = set()
        self._held: IO[str] | None = None

    # --------------------------------------------------------------------------------------------------------- the tick

    def tick(self) -> list[str]:
        """Admits what can start now and returns the job ids. Returns [] when another process is the scheduler."""
        with self._lock, self._alone() as alone:
            return self._tick() if alone else []

    def _tick(self) -> list[str]:
        now = time.time()
        self._read_queue(now)
        charging = now - self._charged_at >= _CHARGE_EVERY_S
        if not len(self._queue) and not charging:
            return []
        self._settle_unadmitted()
        host = self._host()
        if host.blocked and not charging:
            return []
        running, standing = self._read_running(now)
        if charging:
            self._charge(running, now)
        offers = _Offers(self._installation)
        decision = self._queue.decide(host, running, offers, standing, now)
        return [start.job_id for start in decision.starts if self._admit(start, offers)]

    def _admit(self, start: Start, offers: _Offers) -> bool:
        """The lease first: it is idempotent, so that a kill before the admission costs nothing."""
        entry = self._queue.get(start.job_id)
        attempt = self._attempts[start.job_id]
        try:
            uuids = self._lease(entry, attempt, start.candidates, offers)
        except (NoGpuError, GpuSourceError, EngineError) as busy:
            log.info("job %s waits: %s", start.job_id, busy.message)
            return False
        admitted = self._note_admitted(start.job_id, attempt, uuids)
        if not admitted and uuids and not self._is_admitted(start.job_id, attempt):
            self._installation.gpus.release(start.job_id, attempt)
        return admitted

    def _is_admitted(self, job_id: str, attempt: int) -> bool:
        """By an earlier look: the cards are its own then, and in use."""
        with self._installation.database.reading() as session:
            job = jobs.find_job(session, job_id)
        return job is not None and job.attempt == attempt and job.admitted_at is not None and not job.state.ended

    def _note_admitted(self, job_id: str, attempt: int, uuids: Sequence[str]) -> bool:
        """False when the attempt is no longer to run."""
        self._queue.remove(job_id)
        admitted = self._installation.database.write(lambda session: queued.admit(session, job_id, attempt, uuids))
        self._installation.bell.ring(job_id)
        return admitted

    def _settle_unadmitted(self) -> None:
        """Of jobs that still wait though they have cards, and would wait for themselves.

        A scheduler that was killed between lease and admission left them; or the container was found running, and is the job's own.
        """
        self._with_gpus = {job_id for job_id in self._with_gpus if job_id in self._queue}
        if not self._with_gpus:
            return
        with self._installation.database.reading() as session:
            held = leases.list_open(session, self._installation.host)
        for lease in held:
            if self._attempts.get(lease.job_id) != lease.attempt or lease.job_id not in self._queue:
                continue
            if self._is_admitted(lease.job_id, lease.attempt):
                self._queue.remove(lease.job_id)
            elif lease.state is LeaseState.ACTIVE:
                self._note_admitted(lease.job_id, lease.attempt, lease.uuids)
            else:
                self._installation.gpus.release(lease.job_id, lease.attempt)

    def _lease(self, entry: Entry, attempt: int, candidates: Sequence[str], offers: _Offers) -> tuple[str, ...]:
        if not entry.gpu_count:
            return ()
        return self._installation.gpus.lease(
            entry.job_id,
            attempt,
            entry.gpu_count,
            wish_of(entry.wish),
            user=entry.user,
            project=entry.project,
            kind=Kind(entry.kind),
            books=offers.books(),
            among=candidates,
        )

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        if self._held is not None:
            yield True
            return
        with (self._installation.home / "scheduler.lock").open("a") as file:
            yield try_lock(file.fileno())

    def hold(self) -> bool:
        """Be the scheduler until ``close``; False when another process is. May be repeated."""
        if self._held is not None:
            return True
        file = (self._installation.home / "scheduler.lock").open("a")
        if not try_lock(file.fileno()):
            file.close()
            return False
        self._held = file
        return True

    def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    # ---------------------------------------------------------------------------------------------------------- questions

    def explain(self, job_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Of those that wait: the place in the queue, from 1, and why it does not run yet."""
        with self._lock:
            now = time.time()
            self._read_queue(now)
            waiting = [job_id for job_id in job_ids if job_id in self._queue]
            if not waiting:
                return {}
            running, standing = self._read_running(now)
            found = self._queue.explain_all(waiting, self._host(), running, _Offers(self._installation), standing, now)
        return {job_id: (place.position, place.reason) for job_id, place in found.items()}

    def submitted(self, job: QueuedJob) -> None:
        """A job was queued in this process, for the first time or again. Waits for no tick: the next one lines it up."""
        self._arrived.append(job)

    def forget(self, job_id: str) -> None:
        """A waiting job was cancelled in this process."""
        with self._lock:
            self._line_up()
            self._queue.remove(job_id)

    # ---------------------------------------------------------------------------------------------------------- the books

    def _read_queue(self, now: float) -> None:
        """What this process queued is known; for the others a look each second is enough."""
        self._line_up()
        if self._held is not None and now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        whole = len(self._queue) <= _READ_ALL_UP_TO or now - self._read_all_at > _READ_ALL_EVERY_S
        since = None if whole or self._newest is None else self._newest - _LATE_COMMIT
        with self._installation.database.reading() as session:
            found = queued.list_waiting(session) if since is None else queued.list_new_waiting(session, since, self._queue.__contains__)
        waiting = [job for job in found if self._is_looked_after(job)]
        if since is None:
            self._read_all_at = now
            self._replace(waiting)
        else:
            for job in waiting:
                self._add(job)

    def _line_up(self) -> None:
        """What arrived, but for what a look into the database found, and perhaps admitted, before."""
        while self._arrived:
            job = self._arrived.popleft()
            if self._attempts.get(job.id) != job.attempt:
                self._add(job)

    def _is_looked_after(self, job: QueuedJob) -> bool:
        """A service drives every job. Without one, a job whose process was killed is out of the queue until somebody waits for it: it takes
        nobody's turn, and no slot either. Its GPUs stay leased.
        """
        return self._held is not None or self._installation.is_served() or self._installation.run_dir(job.id).is_driven()

    def _replace(self, waiting: Sequence[QueuedJob]) -> None:
        present = {job.id: job for job in waiting}
        for job_id in [job_id for job_id in self._attempts if job_id not in present or present[job_id].attempt != self._attempts[job_id]]:
            self._queue.remove(job_id)
            del self._attempts[job_id]
        for job in waiting:
            self._add(job)

    def _add(self, job: QueuedJob) -> None:
        if job.cancelled or job.id in self._queue:
            return
        self._attempts[job.id] = job.attempt
        if job.gpu_count:
            self._with_gpus.add(job.id)
        self._newest = max(self._newest or job.created_at, job.created_at)
        self._queue.add(entry_of(job))

    def _read_running(self, now: float) -> tuple[list[Running], dict[tuple[str, str], Share]]:
        """Who runs, and what everybody has used and may use, of one moment."""
        half_life_s = self._installation.settings.share_half_life_s
        with self._installation.database.reading() as session:
            admitted = queued.list_admitted(session)
            records = shares.list_shares(session)
        return [_running(job) for job in admitted], {(record.kind, record.name): _share(record, now, half_life_s) for record in records}

    def _host(self) -> Host:
        installation = self._installation
        return Host(
            cpu_count=float(cpu_count()),
            memory_bytes=installation.host_memory_bytes,
            job_slots=installation.settings.job_slots or cpu_count(),
            blocked=self._engine_silent() or disk_problem(installation),
        )

    def _charge(self, running: Sequence[Running], now: float) -> None:
        """The time since the last charge, to the user and the project of each running job: its cards, or its share of the processors."""
        elapsed_s, self._charged_at = now - self._charged_at, now
        used: dict[tuple[str, str], float] = {}
        host = self._host()
        for job in running:
            for owner in (("user", job.user), ("project", job.project)):
                used[owner] = used.get(owner, 0.0) + use_rate(len(job.gpu_uuids), job.cpu_count, host) * elapsed_s
        if used:
            moment = datetime.fromtimestamp(now, timezone.utc)
            with self._installation.database.writing() as session:
                shares.charge(session, used, moment, self._installation.settings.share_half_life_s)


class _Offers:
    """What the cards offer to one tick: the books are read once, when the first job with GPUs asks."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._books: Books | None = None
        self._problem = ""

    def offer(self, entry: Entry) -> Offer:
        books = self.books()
        if books is None:
            return Offer(free=(), eligible=(), busy={"GPUs": self._problem})
        return self._installation.gpus.offer(wish_of(entry.wish), entry.user, entry.project, Kind(entry.kind), books)

    def scope(self, user: str, project: str) -> Hashable:
        """As the queue wants to know: users and projects that are offered the same."""
        books = self.books()
        return self._installation.gpus.offer_scope(user, project, books) if books else None

    def books(self) -> Books | None:
        """None when a book cannot be read, and then nothing is offered."""
        if self._books is None and not self._problem:
            try:
                self._books = self._installation.gpus.read()
            except UnavailableError as error:
                self._problem = error.message
        return self._books


def _running(job: QueuedJob) -> Running:
    return Running(
        job_id=job.id,
        user=job.user or _NOBODY,
        project=job.project,
        gpu_uuids=job.gpu_uuids,
        cpu_count=job.cpu_count,
        memory_bytes=job.memory_bytes,
        ends_by=job.admitted_at.timestamp() + job.runtime_s if job.runtime_s and job.admitted_at else None,
    )


def _share(record: shares.ShareRecord, now: float, half_life_s: float) -> Share:
    used = shares.decay(record.usage_gpu_s, record.used_until.timestamp(), now, half_life_s)
    return Share(record.weight, record.max_gpus, record.max_jobs, used)


def entry_of(job: QueuedJob) -> Entry:
    return Entry(
        job_id=job.id,
        user=job.user or _NOBODY,
        project=job.project,
        priority=job.priority,
        submitted_at=job.created_at.timestamp(),
        gpu_count=job.gpu_count,
        cpu_count=job.cpu_count,
        memory_bytes=job.memory_bytes,
        wish=job.gpu_wish,
        kind=job.kind,
        runtime_s=job.runtime_s,
        not_before=job.not_before.timestamp() if job.not_before else 0.0,
    )


@lru_cache(maxsize=1024)
def wish_of(text: str) -> GpuWish:
    """The wish as a job's row keeps it; '' for any GPU."""
    return GpuWish.model_validate_json(text) if text else GpuWish()


def wish_text(wish: GpuWish) -> str:
    """The same text for the same wish, '' for any GPU."""
    asked = wish.model_dump(exclude_none=True)
    return json.dumps(asked, sort_keys=True, separators=(",", ":")) if asked else ""


@lru_cache(maxsize=1)
def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def disk_problem(installation: Installation) -> str:
    """Why no job may start for want of disk; '' when there is enough."""
    free, floor = shutil.disk_usage(installation.home).free, installation.settings.disk_floor_bytes
    if free >= floor:
        return ""
    return f"the disk of {installation.home} has {free / 1e9:.1f} GB free, less than the floor of {floor / 1e9:.1f} GB (`sluice gc` frees some)"

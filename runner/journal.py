"""The journal of one job being driven: every step is on record before it happens, and others' requests are seen between steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from sqlalchemy.orm import Session

from contracts.job import EndReason, Step
from registry import deliveries, jobs
from registry.jobs import JobRecord
from runner.installation import Installation
from runner.listeners import interested
from runner.messages import message_of
from runner.views import job_view

_STEPS = list(Step)
#: How long a request that another process wrote into the database may go unseen.
_RELOAD_EVERY_S = 2.0


class LetGo(Exception):  # noqa: N818 - not an error
    """Another process is to carry the job on; not an end."""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The cancel was seen before the container started."""


@dataclass(frozen=True)
class Stop:
    """Why a running container is to end, and when that was decided (Unix seconds)."""

    reason: EndReason
    message: str
    time: float


class Orders:
    """What others in this process ask of the driver of a job."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.news = threading.Event()
        self._stop: Stop | None = None

    @property
    def stop(self) -> Stop | None:
        return self._stop

    def end(self, reason: EndReason, message: str) -> None:
        """The first reason counts."""
        self._stop = self._stop or Stop(reason, message, time.time())
        self.news.set()


class Journal:
    """The job as it stands, and the only writer of its steps while it is driven."""

    def __init__(self, installation: Installation, job: JobRecord, orders: Orders) -> None:
        self._installation = installation
        self._orders = orders
        self._loaded_at = time.monotonic()
        #: What this attempt noted: nothing yet when it is only now to begin, None when it must be read.
        self._noted: dict[str, Any] | None = {} if job.step is Step.QUEUED else None
        self._held_back: dict[str, Any] = {}
        self.job = job

    def at(self, step: Step, action: Callable[[], None]) -> None:
        """Journals the step, then does it; left out when the journal is already past it."""
        if _STEPS.index(self.job.step) > _STEPS.index(step):
            return
        self.check_requests()
        self.enter(step)
        action()

    def enter(self, step: Step, **detail: Any) -> None:
        if self.job.step is step:
            return
        times: dict[str, Any] = {"started_at": datetime.now(timezone.utc)} if self.job.started_at is None else {}
        columns = {**self._held_back, **times}
        job = replace(self.job, step=step, **times)
        line = {"attempt": job.attempt, **detail}

        def write(session: Session) -> None:
            jobs.enter_step(session, job.id, job.attempt, step, line, **columns)
            if step is Step.START:
                self.tell(session, "started", job_view(job, attended=True))

        self._installation.database.write(write)
        self._held_back = {}
        self._remember(line)
        self.show(job)

    def note(self, **detail: Any) -> None:
        """A line beside the present step."""
        job = self.job
        line = {"attempt": job.attempt, **detail}
        self._installation.database.write(lambda session: jobs.note(session, job.id, job.attempt, job.step, line))
        self._remember(line)

    def _remember(self, line: Mapping[str, Any]) -> None:
        if self._noted is not None:
            self._noted.update(line)

    def noted(self) -> dict[str, Any]:
        """What this attempt noted, the last under each name."""
        if self._noted is None:
            with self._installation.database.reading() as session:
                events = jobs.list_events(session, self.job.id)
            self._noted = {name: value for event in events if event.attempt == self.job.attempt for name, value in event.detail.items()}
        return self._noted

    def update(self, **columns: Any) -> None:
        self._installation.database.write(lambda session: jobs.set_columns(session, self.job.id, **columns))
        self.show(replace(self.job, **columns))

    def hold_back(self, **columns: Any) -> None:
        """As ``update``, durable and seen with the next step: for what is found again when the present one is repeated."""
        self._held_back |= columns
        self.job = replace(self.job, **columns)

    def reload(self) -> JobRecord:
        """With what others may have written: nobody else changes anything but the request to end."""
        with self._installation.database.reading() as session:
            cancelled_at = jobs.find_cancel_time(session, self.job.id)
        self._loaded_at = time.monotonic()
        if cancelled_at != self.job.cancel_requested_at:
            self.show(replace(self.job, cancel_requested_at=cancelled_at))
        return self.job

    def reload_admission(self) -> JobRecord:
        """The whole row: admission changes it."""
        with self._installation.database.reading() as session:
            self.job = jobs.get_job(session, self.job.id)
        return self.job

    def reload_when_due(self) -> None:
        """At once when this process has news, otherwise now and then."""
        if self._orders.news.is_set() or time.monotonic() - self._loaded_at >= _RELOAD_EVERY_S:
            self._orders.news.clear()
            self.reload()

    def check_requests(self) -> None:
        self.reload_when_due()
        if self._orders.let_go.is_set():
            raise LetGo
        if self.job.cancel_requested_at:
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Of a container that may run: a request to end it is not met by leaving it alone."""
        if self._orders.let_go.wait(seconds):
            raise LetGo

    def tell(self, session: Any, event: str, job: Mapping[str, Any] | None = None) -> None:
        """The listeners, in the transaction that makes it true."""
        settings = self._installation.settings
        if settings.listeners:
            message = message_of(job or job_view(self.job, attended=True), event)
            deliveries.add(session, self.job.id, self.job.attempt, event, interested(settings, message), message)

    def show(self, job: JobRecord) -> None:
        """What is on record now is what watchers see."""
        self.job = job
        self._installation.live[job.id] = job
        self._installation.bell.ring(job.id)
        self._installation.kick_listeners()

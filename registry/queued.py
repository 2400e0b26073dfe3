"""What the scheduler reads and writes of jobs: columns only, so that a hundred thousand queued jobs are read without their JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from contracts.job import Step
from registry.prepared import Prepared
from registry.tables import JobRow, now


@dataclass(frozen=True)
class QueuedJob:
    """One job as the queue weighs it. ``cancelled``: somebody asked it to end."""

    id: str
    kind: str
    user: str
    project: str
    priority: int
    created_at: datetime
    attempt: int
    gpu_count: int
    cpu_count: float
    memory_bytes: int
    gpu_wish: str
    runtime_s: float | None
    not_before: datetime | None
    admitted_at: datetime | None
    gpu_uuids: tuple[str, ...]
    cancelled: bool


_COLUMNS = (
    JobRow.id,
    JobRow.kind,
    JobRow.user,
    JobRow.project,
    JobRow.priority,
    JobRow.created_at,
    JobRow.attempt,
    JobRow.gpu_count,
    JobRow.cpu_count,
    JobRow.memory_bytes,
    JobRow.gpu_wish,
    JobRow.runtime_s,
    JobRow.not_before,
    JobRow.admitted_at,
    JobRow.gpu_uuids,
    JobRow.cancel_requested_at,
)
_UNFINISHED = JobRow.end_reason.is_(None)
_WAITING = and_(_UNFINISHED, JobRow.admitted_at.is_(None))
_IN_ORDER = select(*_COLUMNS).where(_WAITING).order_by(JobRow.created_at, JobRow.id)
_ALL_WAITING = Prepared(_IN_ORDER)
_NEW_WAITING = Prepared(select(JobRow.id).where(_WAITING, JobRow.created_at >= bindparam("since")))
_SOME_WAITING = Prepared(_IN_ORDER.where(JobRow.id.in_(bindparam("job_ids", expanding=True))))
#: Values of one statement: a database takes only so many at once.
_AT_ONCE = 500
_ADMITTED = Prepared(select(*_COLUMNS).where(_UNFINISHED, JobRow.admitted_at.is_not(None)))
_TO_DRIVE = Prepared(select(JobRow.id).where(_UNFINISHED, or_(JobRow.admitted_at.is_not(None), JobRow.cancel_requested_at.is_not(None))))
_JOBS: Any = JobRow.__table__
_ADMIT = Prepared(
    _JOBS.update()
    .where(_JOBS.c.id == bindparam("job_id"), _JOBS.c.attempt == bindparam("job_attempt"), _WAITING, _JOBS.c.step == Step.QUEUED.value)
    .where(_JOBS.c.cancel_requested_at.is_(None))
    .values(admitted_at=bindparam("admitted_at"), gpu_uuids=bindparam("gpu_uuids"))
)


def list_waiting(session: Session) -> list[QueuedJob]:
    """Jobs that are not admitted, oldest first."""
    return [_queued(row) for row in _ALL_WAITING.run(session)]


def list_new_waiting(session: Session, since: datetime, known: Callable[[str], bool]) -> list[QueuedJob]:
    """Those of ``list_waiting`` that were submitted after ``since``, but for the ``known``, whose rows are not read."""
    new = [job_id for job_id in _NEW_WAITING.run(session, since=since).scalars() if not known(job_id)]
    parts = [new[place : place + _AT_ONCE] for place in range(0, len(new), _AT_ONCE)]
    return [_queued(row) for part in parts for row in _SOME_WAITING.run(session, job_ids=part)]


def list_admitted(session: Session) -> list[QueuedJob]:
    """Jobs that hold what they need and have not ended."""
    return [_queued(row) for row in _ADMITTED.run(session)]


def list_to_drive(session: Session) -> list[str]:
    """Ids of unfinished jobs that somebody must drive: they hold what they need, or were asked to end while they waited for it."""
    return list(_TO_DRIVE.run(session).scalars())


def admit(session: Session, job_id: str, attempt: int, gpu_uuids: Sequence[str] = ()) -> bool:
    """Note that the attempt holds what it needs. False, and nothing changed, when it is no longer to run."""
    done = _ADMIT.run(session, job_id=job_id, job_attempt=attempt, admitted_at=now(), gpu_uuids=list(gpu_uuids))
    return bool(done.rowcount == 1)


def known_attempts(session: Session, job_ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """The present attempt of each of these jobs, and whether the job has ended; unknown jobs are left out."""
    wanted = list(job_ids)
    query = select(JobRow.id, JobRow.attempt, JobRow.end_reason).where(JobRow.id.in_(wanted))
    return {row.id: (row.attempt, row.end_reason is not None) for row in session.execute(query)} if wanted else {}


def engines_in_use(session: Session) -> set[str]:
    """The engines of jobs that have not ended, or have and whose container may still be there."""
    return set(session.scalars(select(JobRow.engine).distinct().where(JobRow.cleaned_at.is_(None))))


def _queued(row: Sequence[Any]) -> QueuedJob:
    *columns, gpu_uuids, cancel_requested_at = tuple(row)
    return QueuedJob(*columns, tuple(gpu_uuids), cancel_requested_at is not None)  # type: ignore[call-arg]  # as in _COLUMNS

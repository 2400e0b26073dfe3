"""What the scheduler reads and writes of jobs: columns only, so that a hundred thousand queued jobs are read without their JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from contracts.job import Step
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


def list_waiting(session: Session, since: datetime | None = None) -> list[QueuedJob]:
    """Jobs that are not admitted, oldest first; with ``since`` only those that were submitted after it."""
    query = select(*_COLUMNS).where(_WAITING).order_by(JobRow.created_at, JobRow.id)
    return [_queued(row) for row in session.execute(query if since is None else query.where(JobRow.created_at >= since))]


def list_admitted(session: Session) -> list[QueuedJob]:
    """Jobs that hold what they need and have not ended."""
    return [_queued(row) for row in session.execute(select(*_COLUMNS).where(_UNFINISHED, JobRow.admitted_at.is_not(None)))]


def list_cancelled(session: Session) -> list[str]:
    """Ids of jobs that wait although they were asked to end."""
    return list(session.scalars(select(JobRow.id).where(_WAITING, JobRow.cancel_requested_at.is_not(None))))


def admit(session: Session, job_id: str, attempt: int, gpu_uuids: Sequence[str] = ()) -> bool:
    """Note that the attempt holds what it needs. False, and nothing changed, when it is no longer to run."""
    admission = (
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.attempt == attempt, _WAITING, JobRow.step == Step.QUEUED.value)
        .where(JobRow.cancel_requested_at.is_(None))
        .values(admitted_at=now(), gpu_uuids=list(gpu_uuids))
    )
    done = session.execute(admission.execution_options(synchronize_session=False))
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def known_attempts(session: Session, job_ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """The present attempt of each of these jobs, and whether the job has ended; unknown jobs are left out."""
    wanted = list(job_ids)
    query = select(JobRow.id, JobRow.attempt, JobRow.end_reason).where(JobRow.id.in_(wanted))
    return {row.id: (row.attempt, row.end_reason is not None) for row in session.execute(query)} if wanted else {}


def _queued(row: Sequence[Any]) -> QueuedJob:
    *columns, gpu_uuids, cancel_requested_at = tuple(row)
    return QueuedJob(*columns, tuple(gpu_uuids), cancel_requested_at is not None)  # type: ignore[call-arg]  # as in _COLUMNS

"""Jobs and their journal. The state is never stored: it follows from the step and the end reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, InternalError, RequestError
from contracts.image import Kind
from contracts.job import EndReason, Evidence, JobState, JobWarning, Step
from registry.lookup import not_found
from registry.tables import JobEventRow, JobRow, now

PREFIX_LENGTH = 3


@dataclass(frozen=True)
class JobRecord:
    """One job as it stands.

    ``spec`` is what was asked for, ``plan`` what it was pinned to when it was submitted. ``gpu_uuids`` are those of the present attempt;
    ``exit_code`` is the container's own. ``cleaned_at`` is set when container and lease of an ended job are gone.
    """

    id: str
    name: str | None
    kind: Kind
    spec: dict[str, Any]
    plan: dict[str, Any]
    step: Step
    end_reason: EndReason | None
    attempt: int
    image_name: str
    image_reference: str
    image_digest: str
    engine: str
    dialect: str
    container_id: str | None
    gpu_uuids: tuple[str, ...]
    run_dir: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None
    exit_code: int | None
    evidence: dict[str, Any] | None
    warnings: list[dict[str, Any]]
    result: dict[str, Any] | None
    cancel_requested_at: datetime | None
    rerun_of: str | None
    cleaned_at: datetime | None

    @property
    def state(self) -> JobState:
        if self.end_reason is not None:
            return self.end_reason.state
        return JobState.QUEUED if self.step is Step.QUEUED else JobState.RUNNING


@dataclass(frozen=True)
class EventRecord:
    """One line of a job's journal: at ``created_at`` the attempt was about to do ``step``."""

    id: int
    job_id: str
    attempt: int
    step: Step
    detail: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)


def add_job(
    session: Session,
    *,
    id: str,  # noqa: A002 - the word of the domain
    kind: Kind,
    spec: Mapping[str, Any],
    plan: Mapping[str, Any],
    image_name: str,
    image_reference: str,
    image_digest: str,
    engine: str,
    run_dir: str,
    dialect: str = "ymir",
    name: str | None = None,
    attempt: int = 1,
    warnings: Iterable[JobWarning | Mapping[str, Any]] = (),
    rerun_of: str | None = None,
    created_at: datetime | None = None,
) -> JobRecord:
    """Store a queued job. Raises ``ConflictError`` when the id is taken; names need not differ."""
    if session.get(JobRow, id) is not None:
        raise ConflictError(f"the job id {id} is taken", hint="Make another id.", id=id)
    row = JobRow(
        id=id,
        name=name,
        kind=kind.value,
        spec=dict(spec),
        plan=dict(plan),
        step=Step.QUEUED.value,
        attempt=attempt,
        image_name=image_name,
        image_reference=image_reference,
        image_digest=image_digest,
        engine=engine,
        dialect=dialect,
        gpu_uuids=[],
        run_dir=run_dir,
        created_at=created_at or now(),
        warnings=_warnings(warnings),
        rerun_of=rerun_of,
    )
    session.add(row)
    session.flush()
    return _record(row)


def get_job(session: Session, reference: str) -> JobRecord:
    """A job by id, by name (the newest of that name), or by the first three or more characters of its id, in this order.

    Raises ``NotFoundError``, and ``RequestError`` listing the jobs when the reference fits several.
    """
    row = session.get(JobRow, reference)
    if row is not None:
        return _record(row)
    if rows := _rows_named(session, reference) or _rows_beginning(session, reference):
        if len(rows) > 1 and rows[0].name != reference:
            raise _ambiguous(reference, rows)
        return _record(rows[0])
    known = [word for pair in session.execute(select(JobRow.id, JobRow.name)) for word in pair if word]
    raise not_found("job", reference, known, "sluice job list")


def find_job(session: Session, id: str) -> JobRecord | None:  # noqa: A002 - the word of the domain
    """The job of exactly this id, or None."""
    row = session.get(JobRow, id)
    return _record(row) if row else None


def list_jobs(
    session: Session, *, states: Sequence[JobState] = (), kinds: Sequence[Kind] = (), limit: int | None = None, offset: int = 0
) -> list[JobRecord]:
    """Jobs, newest first; () means every state or kind."""
    query = _filtered(select(JobRow), states, kinds).order_by(JobRow.created_at.desc(), JobRow.id.desc())
    return [_record(row) for row in session.scalars(query.limit(limit).offset(offset))]


def count_jobs(session: Session, *, states: Sequence[JobState] = (), kinds: Sequence[Kind] = ()) -> int:
    """How many ``list_jobs`` would list without a limit."""
    return session.scalar(_filtered(select(func.count()).select_from(JobRow), states, kinds)) or 0


def list_unfinished(session: Session) -> list[JobRecord]:
    """Jobs that have not ended, newest first."""
    return list_jobs(session, states=(JobState.QUEUED, JobState.RUNNING))


def list_unclean(session: Session) -> list[JobRecord]:
    """Jobs that ended but whose container or lease may still be there, oldest first."""
    query = select(JobRow).where(JobRow.end_reason.is_not(None), JobRow.cleaned_at.is_(None)).order_by(JobRow.created_at)
    return [_record(row) for row in session.scalars(query)]


def update_job(session: Session, id: str, **columns: Any) -> JobRecord:  # noqa: A002 - the word of the domain
    """Set columns of a job, by the names of ``JobRecord``. How it ends is ``finish_job``'s alone; what was asked for never changes."""
    refused = sorted(set(columns) - _UPDATABLE)
    if refused:
        raise InternalError(f"update_job cannot set {', '.join(refused)}", hint=f"It sets {', '.join(sorted(_UPDATABLE))}.")
    row = _job_row(session, id)
    for column, value in columns.items():
        setattr(row, column, _stored(column, value))
    session.flush()
    return _record(row)


def finish_job(
    session: Session,
    id: str,  # noqa: A002 - the word of the domain
    end_reason: EndReason,
    *,
    exit_code: int | None = None,
    evidence: Evidence | Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
    warnings: Iterable[JobWarning | Mapping[str, Any]] | None = None,
    ended_at: datetime | None = None,
) -> JobRecord:
    """End a job, once. Repeating the same reason changes nothing; another reason raises ``ConflictError``. What is None stays as it was."""
    given = {"exit_code": exit_code, "evidence": evidence, "result": result, "warnings": warnings}
    values = {column: _stored(column, value) for column, value in given.items() if value is not None}
    values |= {"end_reason": end_reason.value, "ended_at": ended_at or now()}
    row = _job_row(session, id)
    ending = update(JobRow).where(JobRow.id == id, JobRow.end_reason.is_(None)).values(values)
    ended_now = session.execute(ending.execution_options(synchronize_session=False)).rowcount == 1  # type: ignore[attr-defined]
    session.refresh(row)
    if not ended_now and row.end_reason != end_reason.value:
        raise ConflictError(
            f"job {id} ended already: {row.end_reason}, not {end_reason}", hint="A job ends once; run it again for another end.", id=id
        )
    return _record(row)


def add_event(session: Session, job_id: str, step: Step, detail: Mapping[str, Any] | None = None) -> EventRecord:
    """Write a line into the job's journal. Raises ``NotFoundError`` for an unknown job."""
    job = _job_row(session, job_id)
    row = JobEventRow(job_id=job_id, attempt=job.attempt, step=step.value, detail=dict(detail or {}), created_at=now())
    session.add(row)
    session.flush()
    return _event(row)


def list_events(session: Session, job_id: str) -> list[EventRecord]:
    """The job's journal, oldest first."""
    return [_event(row) for row in session.scalars(select(JobEventRow).where(JobEventRow.job_id == job_id).order_by(JobEventRow.id))]


# ------------------------------------------------------------------------------------------------------------ finding rows


def _job_row(session: Session, job_id: str) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise not_found("job", job_id, session.scalars(select(JobRow.id)), "sluice job list")
    return row


def _rows_named(session: Session, name: str) -> Sequence[JobRow]:
    return session.scalars(select(JobRow).where(JobRow.name == name).order_by(JobRow.created_at.desc())).all()


def _rows_beginning(session: Session, prefix: str) -> Sequence[JobRow]:
    if len(prefix) < PREFIX_LENGTH:
        return ()
    query = select(JobRow).where(JobRow.id.startswith(prefix, autoescape=True)).order_by(JobRow.created_at.desc())
    return session.scalars(query).all()


def _ambiguous(reference: str, rows: Sequence[JobRow]) -> RequestError:
    ids = [row.id for row in rows]
    shown = ", ".join(f"{row.id} ({row.kind}, {row.created_at:%Y-%m-%d %H:%M})" for row in rows[:8])
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    return RequestError(f"{reference!r} fits {len(rows)} jobs: {shown}{more}", hint="Give the whole id.", jobs=ids)


def _filtered(query: Select[Any], states: Sequence[JobState], kinds: Sequence[Kind]) -> Select[Any]:
    if states:
        query = query.where(or_(*(_in_state(state) for state in states)))
    return query.where(JobRow.kind.in_([kind.value for kind in kinds])) if kinds else query


def _in_state(state: JobState) -> ColumnElement[bool]:
    queued = JobRow.step == Step.QUEUED.value
    if state is JobState.QUEUED:
        return and_(JobRow.end_reason.is_(None), queued)
    if state is JobState.RUNNING:
        return and_(JobRow.end_reason.is_(None), ~queued)
    return JobRow.end_reason.in_([reason.value for reason in EndReason if reason.state is state])


# ------------------------------------------------------------------------------------------------------- rows and records

_UPDATABLE = frozenset(
    {
        "name", "step", "attempt", "image_reference", "image_digest", "container_id", "gpu_uuids", "run_dir", "started_at",
        "progress", "exit_code", "evidence", "warnings", "result", "cancel_requested_at", "cleaned_at",
    }
)  # fmt: skip


def _stored(column: str, value: Any) -> Any:
    """A record's value as its column keeps it."""
    if column == "warnings":
        return _warnings(value)
    if column == "step":
        return Step(value).value
    if column == "evidence" and isinstance(value, Evidence):
        return value.to_dict()
    return list(value) if column == "gpu_uuids" else value


def _warnings(warnings: Iterable[JobWarning | Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [warning.to_dict() if isinstance(warning, JobWarning) else dict(warning) for warning in warnings]


def _record(row: JobRow) -> JobRecord:
    return JobRecord(
        id=row.id,
        name=row.name,
        kind=Kind(row.kind),
        spec=dict(row.spec),
        plan=dict(row.plan),
        step=Step(row.step),
        end_reason=None if row.end_reason is None else EndReason(row.end_reason),
        attempt=row.attempt,
        image_name=row.image_name,
        image_reference=row.image_reference,
        image_digest=row.image_digest,
        engine=row.engine,
        dialect=row.dialect,
        container_id=row.container_id,
        gpu_uuids=tuple(row.gpu_uuids),
        run_dir=row.run_dir,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        progress=row.progress,
        exit_code=row.exit_code,
        evidence=row.evidence,
        warnings=list(row.warnings),
        result=row.result,
        cancel_requested_at=row.cancel_requested_at,
        rerun_of=row.rerun_of,
        cleaned_at=row.cleaned_at,
    )


def _event(row: JobEventRow) -> EventRecord:
    return EventRecord(row.id, row.job_id, row.attempt, Step(row.step), dict(row.detail), row.created_at)

"""Jobs and their journal. The state is never stored: it follows from the step and the end reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, InternalError, NotFoundError, RequestError
from contracts.image import Kind
from contracts.job import EndReason, Evidence, JobState, JobWarning, Step
from registry.lookup import not_found
from registry.prepared import Prepared
from registry.tables import JobAttemptRow, JobEventRow, JobRow, now
from registry.versions import split_version, take_version

PREFIX_LENGTH = 3
_JOBS: Any = JobRow.__table__
_EVENTS: Any = JobEventRow.__table__
_FIND = Prepared(select(_JOBS).where(_JOBS.c.id == bindparam("job_id")))
_FIND_MANY = Prepared(select(_JOBS).where(_JOBS.c.id.in_(bindparam("job_ids", expanding=True))))
_NAMED = Prepared(select(_JOBS).where(_JOBS.c.name == bindparam("name")).order_by(_JOBS.c.created_at.desc()))
_VERSIONED = Prepared(select(_JOBS).where(_JOBS.c.name == bindparam("name"), _JOBS.c.version == bindparam("version")))
_SUBMITTED = Prepared(select(_JOBS).where(_JOBS.c.idempotency_key == bindparam("key")))
_UNCLEAN = Prepared(select(_JOBS).where(_JOBS.c.end_reason.is_not(None), _JOBS.c.cleaned_at.is_(None)).order_by(_JOBS.c.created_at))
_JOURNAL = Prepared(select(_EVENTS).where(_EVENTS.c.job_id == bindparam("job_id")).order_by(_EVENTS.c.id))
_TAKEN = Prepared(select(_JOBS.c.id).where(_JOBS.c.id == bindparam("job_id")))
_ADD = Prepared(_JOBS.insert())
_NOTE = Prepared(_EVENTS.insert())
_CANCEL_TIME = Prepared(select(_JOBS.c.cancel_requested_at).where(_JOBS.c.id == bindparam("job_id")))
#: By the columns that are set: few combinations ever are.
_SET: dict[tuple[str, ...], Prepared] = {}


@dataclass(frozen=True)
class JobRecord:
    """One job as it stands.

    ``version``: which run of its name it is, from 1; None without a name.

    ``spec`` is what was asked for, ``plan`` what it was pinned to when it was submitted. ``gpu_uuids`` are those of the present attempt;
    ``exit_code`` is the container's own. ``cleaned_at`` is set when container and lease of an ended job are gone. ``cpu_count`` and ``memory_bytes``
    are what the job reserves on the host, ``gpu_wish`` the canonical JSON of its ``GpuWish`` ('' for any). ``admitted_at``: the present
    attempt holds what it needs; before ``not_before`` a retry is not admitted.
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
    user: str
    project: str
    priority: int
    idempotency_key: str | None
    gpu_count: int
    cpu_count: float
    memory_bytes: int
    gpu_wish: str
    admitted_at: datetime | None
    not_before: datetime | None
    version: int | None = None

    @property
    def state(self) -> JobState:
        if self.end_reason is not None:
            return self.end_reason.state
        return JobState.QUEUED if self.step is Step.QUEUED else JobState.RUNNING


@dataclass(frozen=True)
class AttemptRecord:
    """How an attempt ended that was followed by another."""

    attempt: int
    end_reason: EndReason
    exit_code: int | None
    evidence: dict[str, Any] | None
    gpu_uuids: tuple[str, ...]
    started_at: datetime | None
    ended_at: datetime


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
    user: str = "",
    project: str = "default",
    priority: int = 0,
    idempotency_key: str | None = None,
    gpu_count: int = 0,
    cpu_count: float = 0.0,
    memory_bytes: int = 0,
    gpu_wish: str = "",
    runtime_s: float | None = None,
) -> JobRecord:
    """Store a queued job, the next version of its name. Raises ``ConflictError`` when the id or the idempotency key is taken."""
    if _TAKEN.run(session, job_id=id).scalar() is not None:
        raise ConflictError(f"the job id {id} is taken", hint="Make another id.", id=id)
    values: dict[str, Any] = dict.fromkeys(_JOBS.columns.keys())
    values |= {
        "id": id,
        "name": name,
        "version": take_version(session, name) if name else None,
        "kind": kind.value,
        "spec": dict(spec),
        "plan": dict(plan),
        "step": Step.QUEUED.value,
        "attempt": attempt,
        "image_name": image_name,
        "image_reference": image_reference,
        "image_digest": image_digest,
        "engine": engine,
        "dialect": dialect,
        "gpu_uuids": [],
        "run_dir": run_dir,
        "created_at": created_at or now(),
        "warnings": _warnings(warnings),
        "rerun_of": rerun_of,
        "user": user,
        "project": project,
        "priority": priority,
        "idempotency_key": idempotency_key,
        "gpu_count": gpu_count,
        "cpu_count": cpu_count,
        "memory_bytes": memory_bytes,
        "gpu_wish": gpu_wish,
        "runtime_s": runtime_s,
    }
    _ADD.run(session, **values)
    return _record(SimpleNamespace(**values))


def get_job(session: Session, reference: str) -> JobRecord:
    """A job by id, by ``name`` (the newest of it) or ``name@V0002``, or by the first three or more characters of its id, in this order.

    Raises ``NotFoundError``, and ``RequestError`` listing the jobs when the reference fits several.
    """
    if found := find_job(session, reference):
        return found
    if rows := _rows_named(session, reference) or _rows_beginning(session, reference):
        if len(rows) > 1 and rows[0].name != reference:
            raise _ambiguous(reference, rows)
        return _record(rows[0])
    pairs = session.execute(select(JobRow.id, JobRow.name)).all()
    raise not_found("job", reference, [word for pair in pairs for word in pair if word], "sluice job list", len(pairs))


def find_job(session: Session, id: str) -> JobRecord | None:  # noqa: A002 - the word of the domain
    """The job of exactly this id, or None."""
    row = _FIND.run(session, job_id=id).first()
    return _record(row) if row else None


def find_jobs(session: Session, ids: Iterable[str]) -> list[JobRecord]:
    """The jobs of exactly these ids, in any order; unknown ones are left out."""
    return [_record(row) for row in _FIND_MANY.run(session, job_ids=list(ids))]


@dataclass(frozen=True)
class Filter:
    """Which jobs; () means all."""

    states: tuple[JobState, ...] = ()
    kinds: tuple[Kind, ...] = ()
    users: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()


def list_jobs(session: Session, wanted: Filter = Filter(), *, limit: int | None = None, offset: int = 0) -> list[JobRecord]:
    """Jobs, newest first."""
    query = _filtered(select(JobRow), wanted).order_by(JobRow.created_at.desc(), JobRow.id.desc())
    return [_record(row) for row in session.scalars(query.limit(limit).offset(offset))]


def list_named(session: Session, name: str) -> list[JobRecord]:
    """The jobs of this name, newest first."""
    return [_record(row) for row in _rows_named(session, name)]


def list_names(session: Session) -> list[str]:
    """Every name that a job has."""
    return list(session.scalars(select(JobRow.name).where(JobRow.name.is_not(None)).distinct().order_by(JobRow.name)))


def any_retried(session: Session) -> bool:
    """Whether any job ever had a second attempt."""
    return session.scalar(select(JobAttemptRow.job_id).limit(1)) is not None


def count_jobs(session: Session, wanted: Filter = Filter()) -> int:
    """How many ``list_jobs`` would list without a limit."""
    return session.scalar(_filtered(select(func.count()).select_from(JobRow), wanted)) or 0


def find_submitted(session: Session, idempotency_key: str) -> JobRecord | None:
    """The job that was submitted with this idempotency key, or None."""
    row = _SUBMITTED.run(session, key=idempotency_key).first()
    return _record(row) if row else None


def list_unfinished(session: Session) -> list[JobRecord]:
    """Jobs that have not ended, newest first."""
    return list_jobs(session, Filter(states=(JobState.QUEUED, JobState.RUNNING)))


def list_unclean(session: Session) -> list[JobRecord]:
    """Jobs that ended but whose container or lease may still be there, oldest first."""
    return [_record(row) for row in _UNCLEAN.run(session)]


def update_job(session: Session, id: str, **columns: Any) -> JobRecord:  # noqa: A002 - the word of the domain
    """Set columns of a job, by the names of ``JobRecord``. How it ends is ``finish_job``'s alone; what was asked for never changes."""
    _check_updatable(columns)
    row = _job_row(session, id)
    for column, value in columns.items():
        setattr(row, column, _stored(column, value))
    session.flush()
    return _record(row)


def set_columns(session: Session, id: str, **columns: Any) -> None:  # noqa: A002 - the word of the domain
    """As ``update_job`` for a caller that knows the job and needs no answer: one statement. Raises ``NotFoundError``."""
    _check_updatable(columns)
    values = {column: _stored(column, value) for column, value in columns.items()}
    if _setting(tuple(values)).run(session, job_id=id, **values).rowcount != 1:
        raise _unknown(session, id)


def enter_step(session: Session, id: str, attempt: int, step: Step, detail: Mapping[str, Any], **columns: Any) -> None:  # noqa: A002
    """The step into the journal and, with other columns, into the job."""
    note(session, id, attempt, step, detail)
    set_columns(session, id, step=step, **columns)


def note(session: Session, id: str, attempt: int, step: Step, detail: Mapping[str, Any]) -> None:  # noqa: A002
    """A line into the job's journal."""
    _NOTE.run(session, job_id=id, attempt=attempt, step=step.value, detail=dict(detail), created_at=now())


def find_cancel_time(session: Session, id: str) -> datetime | None:  # noqa: A002 - the word of the domain
    """When somebody asked the job to end; None when nobody did."""
    found: datetime | None = _CANCEL_TIME.run(session, job_id=id).scalar()
    return found


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
    ended_now = _setting(tuple(values), unfinished=True).run(session, job_id=id, **values).rowcount == 1
    job = find_job(session, id)
    if job is None:
        raise _unknown(session, id)
    if not ended_now and job.end_reason is not end_reason:
        raise ConflictError(
            f"job {id} ended already: {job.end_reason}, not {end_reason}", hint="A job ends once; run it again for another end.", id=id
        )
    return job


def begin_retry(session: Session, id: str, end_reason: EndReason, evidence: Evidence, not_before: datetime) -> JobRecord:  # noqa: A002
    """Put the present attempt's end on record and queue the job again as its next attempt, not to be admitted before ``not_before``.

    Container and lease of the attempt that ended may still be there: they carry its number, and whoever sees them ends them.
    Raises ``ConflictError`` for a job that has ended.
    """
    row = _job_row(session, id)
    if row.end_reason is not None:
        raise ConflictError(f"job {id} ended already: {row.end_reason}", hint="Run it again: sluice job rerun.", id=id)
    session.add(
        JobAttemptRow(
            job_id=id,
            attempt=row.attempt,
            end_reason=end_reason.value,
            exit_code=evidence.exit_code,
            evidence=evidence.to_dict(),
            container_id=row.container_id,
            gpu_uuids=list(row.gpu_uuids),
            started_at=row.started_at,
            ended_at=now(),
        )
    )
    row.attempt, row.step, row.not_before, row.admitted_at = row.attempt + 1, Step.QUEUED.value, not_before, None
    row.container_id, row.gpu_uuids, row.progress, row.started_at = None, [], None, None
    session.flush()
    return _record(row)


def remove_job(session: Session, id: str) -> None:  # noqa: A002 - the word of the domain
    """Forget a job with its journal; its run directory is left to ``sluice gc``. Raises ``NotFoundError``."""
    session.delete(_job_row(session, id))
    session.flush()


def list_attempts(session: Session, job_id: str) -> list[AttemptRecord]:
    """The attempts that were followed by another, oldest first."""
    rows = session.scalars(select(JobAttemptRow).where(JobAttemptRow.job_id == job_id).order_by(JobAttemptRow.attempt))
    return [
        AttemptRecord(
            row.attempt, EndReason(row.end_reason), row.exit_code, row.evidence, tuple(row.gpu_uuids), row.started_at, row.ended_at
        )
        for row in rows
    ]


def add_event(session: Session, job_id: str, step: Step, detail: Mapping[str, Any] | None = None) -> EventRecord:
    """Write a line into the job's journal. Raises ``NotFoundError`` for an unknown job."""
    job = _job_row(session, job_id)
    row = JobEventRow(job_id=job_id, attempt=job.attempt, step=step.value, detail=dict(detail or {}), created_at=now())
    session.add(row)
    session.flush()
    return _event(row)


def list_events(session: Session, job_id: str) -> list[EventRecord]:
    """The job's journal, oldest first."""
    return [_event(row) for row in _JOURNAL.run(session, job_id=job_id)]


# ------------------------------------------------------------------------------------------------------------ finding rows


def _job_row(session: Session, job_id: str) -> JobRow:
    row = session.get(JobRow, job_id, populate_existing=True)
    if row is None:
        raise _unknown(session, job_id)
    return row


def _unknown(session: Session, job_id: str) -> NotFoundError:
    return not_found("job", job_id, session.scalars(select(JobRow.id)), "sluice job list")


def _setting(columns: tuple[str, ...], *, unfinished: bool = False) -> Prepared:
    """Sets these columns of the job ``job_id``; with ``unfinished`` only when it has not ended."""
    key = (*columns, "unfinished") if unfinished else columns
    if key not in _SET:
        wanted = and_(_JOBS.c.id == bindparam("job_id"), _JOBS.c.end_reason.is_(None)) if unfinished else _JOBS.c.id == bindparam("job_id")
        _SET[key] = Prepared(_JOBS.update().where(wanted).values({column: bindparam(column) for column in columns}))
    return _SET[key]


def _rows_named(session: Session, reference: str) -> Sequence[Any]:
    name, version = split_version(reference)
    if version is not None:
        return list(_VERSIONED.run(session, name=name, version=version))
    return list(_NAMED.run(session, name=name))


def _rows_beginning(session: Session, prefix: str) -> Sequence[JobRow]:
    if len(prefix) < PREFIX_LENGTH:
        return ()
    query = select(JobRow).where(JobRow.id.startswith(prefix, autoescape=True)).order_by(JobRow.created_at.desc())
    return session.scalars(query).all()


def _ambiguous(reference: str, rows: Sequence[Any]) -> RequestError:
    ids = [row.id for row in rows]
    shown = ", ".join(f"{row.id} ({row.kind}, {row.created_at:%Y-%m-%d %H:%M})" for row in rows[:8])
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    return RequestError(f"{reference!r} fits {len(rows)} jobs: {shown}{more}", hint="Give the whole id.", jobs=ids)


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    if wanted.states:
        query = query.where(or_(*(_in_state(state) for state in wanted.states)))
    if wanted.kinds:
        query = query.where(JobRow.kind.in_([kind.value for kind in wanted.kinds]))
    if wanted.users:
        query = query.where(JobRow.user.in_(wanted.users))
    return query.where(JobRow.project.in_(wanted.projects)) if wanted.projects else query


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
        "progress", "exit_code", "evidence", "warnings", "result", "cancel_requested_at", "cleaned_at", "admitted_at", "not_before",
        "priority",
    }
)  # fmt: skip


def _check_updatable(columns: Iterable[str]) -> None:
    refused = sorted(set(columns) - _UPDATABLE)
    if refused:
        raise InternalError(f"update_job cannot set {', '.join(refused)}", hint=f"It sets {', '.join(sorted(_UPDATABLE))}.")


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


def _record(row: Any) -> JobRecord:
    """Of a row with the columns of ``JobRow``, however it was read."""
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
        user=row.user,
        project=row.project,
        priority=row.priority,
        idempotency_key=row.idempotency_key,
        gpu_count=row.gpu_count,
        cpu_count=row.cpu_count,
        memory_bytes=row.memory_bytes,
        gpu_wish=row.gpu_wish,
        admitted_at=row.admitted_at,
        not_before=row.not_before,
        version=row.version,
    )


def _event(row: Any) -> EventRecord:
    """Of a row with the columns of ``JobEventRow``, however it was read."""
    return EventRecord(row.id, row.job_id, row.attempt, Step(row.step), dict(row.detail), row.created_at)

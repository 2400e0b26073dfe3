"""How many jobs stand where, counted without reading them: for metrics, asked again and again while a hundred thousand wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from contracts.job import JobState, Step
from registry.tables import JobRow


@dataclass(frozen=True)
class Unfinished:
    """``by_state``: jobs by state and kind. ``waiting`` of them are not admitted; the first of these waits since ``waiting_since``."""

    by_state: Mapping[tuple[JobState, str], int]
    waiting: int
    waiting_since: datetime | None


def count_unfinished(session: Session) -> Unfinished:
    """The jobs that have not ended. An attempt after the first waits since its back-off is over."""
    since = case((JobRow.attempt > 1, JobRow.not_before), else_=JobRow.created_at)
    waits = JobRow.admitted_at.is_(None)
    columns = (JobRow.kind, JobRow.step, waits, func.count(), func.min(since, type_=JobRow.created_at.type))
    rows = session.execute(select(*columns).where(JobRow.end_reason.is_(None)).group_by(JobRow.kind, JobRow.step, waits)).all()
    by_state: Counter[tuple[JobState, str]] = Counter()
    for kind, step, _, count, _ in rows:
        by_state[JobState.QUEUED if step == Step.QUEUED.value else JobState.RUNNING, kind] += count
    waiting = [(count, moment) for _, _, is_waiting, count, moment in rows if is_waiting]
    return Unfinished(by_state, sum(count for count, _ in waiting), min((moment for _, moment in waiting if moment), default=None))

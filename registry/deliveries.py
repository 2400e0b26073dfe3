"""The outbox: what listeners are to be told about jobs, written with the event itself and sent until it arrived or was given up.

A delivery is claimed before it is sent: ``next_at`` moves on by the time that sending may take, so that nobody else sends it meanwhile. Who
dies between sending and recording leaves it claimed, and it is sent again under the same ``delivery_id`` when that time is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Update, and_, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from registry.tables import DeliveryRow, now

#: Seconds before the second try; each further wait is twice as long, up to ``LONGEST_WAIT_S``.
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 3600.0
GIVE_UP_AFTER_S = 24 * 3600.0
_LONGEST_ERROR = 1000


@dataclass(frozen=True)
class DeliveryRecord:
    """One message to one listener. ``tries`` counts the claims; ``error`` says what went wrong last, '' when it arrived or nothing did."""

    id: int
    job_id: str
    attempt: int
    event: str
    listener: str
    message: dict[str, Any]
    tries: int
    next_at: datetime
    ended_at: datetime | None
    error: str
    created_at: datetime

    @property
    def delivery_id(self) -> str:
        """The same at every try, so that the receiver can leave out what it has seen."""
        return f"{self.job_id}.{self.attempt}.{self.event}.{self.listener}"

    @property
    def state(self) -> str:
        """``waiting``, ``arrived`` or ``given up``."""
        if self.ended_at is None:
            return "waiting"
        return "given up" if self.error else "arrived"


def add(session: Session, job_id: str, attempt: int, event: str, listeners: Iterable[str], message: Mapping[str, Any]) -> None:
    """A delivery to each listener, due at once. Repeating it for the same event adds nothing and changes nothing."""
    moment = now()
    rows = [
        {
            "job_id": job_id, "attempt": attempt, "event": event, "listener": listener, "message": dict(message),
            "tries": 0, "next_at": moment, "ended_at": None, "error": "", "created_at": moment,
        }
        for listener in sorted(set(listeners))
    ]  # fmt: skip
    if rows:
        insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        session.execute(insert(DeliveryRow).values(rows).on_conflict_do_nothing())


def due(session: Session, moment: datetime, limit: int = 100, *, listener: str | None = None) -> list[DeliveryRecord]:
    """What may be sent at this moment, to one listener or to any, longest due first."""
    query = select(DeliveryRow).where(_waiting(listener), DeliveryRow.next_at <= moment).order_by(DeliveryRow.next_at, DeliveryRow.id)
    return [_record(row) for row in session.scalars(query.limit(limit))]


def next_at(session: Session, listener: str) -> datetime | None:
    """When the listener's next delivery is due, or None when none waits."""
    return session.scalar(select(func.min(DeliveryRow.next_at)).where(_waiting(listener)))


def claim(session: Session, listener: str, moment: datetime, hold_s: float) -> DeliveryRecord | None:
    """Take the listener's longest due delivery to send it within ``hold_s``; None when none is due. Commit before sending."""
    query = select(DeliveryRow).where(_waiting(listener), DeliveryRow.next_at <= moment).order_by(DeliveryRow.next_at, DeliveryRow.id)
    row = session.scalar(query.limit(1).with_for_update(skip_locked=True))
    if row is None:
        return None
    row.tries, row.next_at = row.tries + 1, moment + timedelta(seconds=hold_s)
    session.flush()
    return _record(row)


def arrived(session: Session, delivery: DeliveryRecord, moment: datetime) -> None:
    """The listener took it. May be repeated."""
    session.execute(_of_waiting(delivery).values(ended_at=moment, error=""))


def failed(
    session: Session,
    delivery: DeliveryRecord,
    error: str,
    moment: datetime,
    *,
    asked_wait_s: float | None = None,
    first_wait_s: float = FIRST_WAIT_S,
) -> datetime | None:
    """The listener did not take it now: when it is tried next, or None when it was given up.

    ``asked_wait_s`` is what the listener itself asked for. The last try is a day after the event. Says nothing about a delivery that
    somebody else claimed meanwhile.
    """
    last = delivery.created_at + timedelta(seconds=GIVE_UP_AFTER_S)
    if moment >= last:
        give_up(session, delivery, f"given up after {GIVE_UP_AFTER_S / 3600:.0f} h and {delivery.tries} tries: {error}", moment)
        return None
    again = min(last, moment + timedelta(seconds=wait_s(delivery.tries, asked_wait_s, first_wait_s)))
    session.execute(_of_waiting(delivery).where(DeliveryRow.tries == delivery.tries).values(next_at=again, error=error[:_LONGEST_ERROR]))
    return again


def wait_s(tries: int, asked_wait_s: float | None = None, first_wait_s: float = FIRST_WAIT_S) -> float:
    """Seconds to wait after this many tries."""
    doubled = first_wait_s * 2 ** min(max(tries, 1) - 1, 30) if asked_wait_s is None else max(asked_wait_s, first_wait_s)
    return min(doubled, LONGEST_WAIT_S)


def give_up(session: Session, delivery: DeliveryRecord, error: str, moment: datetime) -> None:
    """It will never arrive; ``error`` says why. Does nothing to one that arrived."""
    session.execute(_of_waiting(delivery).values(ended_at=moment, error=error[:_LONGEST_ERROR] or "given up"))


def expire(session: Session, moment: datetime, slack_s: float = LONGEST_WAIT_S) -> int:
    """Give up what is older than a day (and ``slack_s``): its listener is no longer in the settings, or nobody sent. Returns how many."""
    before = moment - timedelta(seconds=GIVE_UP_AFTER_S + slack_s)
    note = f"given up after {GIVE_UP_AFTER_S / 3600:.0f} h: nobody sent it, or its listener is no longer in the settings"
    expired = update(DeliveryRow).where(_waiting(), DeliveryRow.created_at < before).values(ended_at=moment, error=note)
    return _changed(session, expired)


def forget(session: Session, before: datetime) -> int:
    """Drop what ended before; returns how many."""
    return _changed(session, delete(DeliveryRow).where(DeliveryRow.ended_at.is_not(None), DeliveryRow.ended_at < before))


def count_waiting(session: Session) -> dict[str, int]:
    """How many deliveries wait, by listener."""
    query = select(DeliveryRow.listener, func.count()).where(_waiting()).group_by(DeliveryRow.listener)
    return {str(listener): int(count) for listener, count in session.execute(query)}


def list_deliveries(session: Session, job_id: str) -> list[DeliveryRecord]:
    """Every delivery about a job, oldest first."""
    return [_record(row) for row in session.scalars(select(DeliveryRow).where(DeliveryRow.job_id == job_id).order_by(DeliveryRow.id))]


def _waiting(listener: str | None = None) -> ColumnElement[bool]:
    waiting = DeliveryRow.ended_at.is_(None)
    return waiting if listener is None else and_(waiting, DeliveryRow.listener == listener)


def _of_waiting(delivery: DeliveryRecord) -> Update:
    """What ended stays ended, whoever comes late."""
    return update(DeliveryRow).where(DeliveryRow.id == delivery.id, _waiting()).execution_options(synchronize_session=False)


def _changed(session: Session, statement: Any) -> int:
    return int(session.execute(statement.execution_options(synchronize_session=False)).rowcount)  # type: ignore[attr-defined]


def _record(row: DeliveryRow) -> DeliveryRecord:
    return DeliveryRecord(
        id=row.id,
        job_id=row.job_id,
        attempt=row.attempt,
        event=row.event,
        listener=row.listener,
        message=dict(row.message),
        tries=row.tries,
        next_at=row.next_at,
        ended_at=row.ended_at,
        error=row.error,
        created_at=row.created_at,
    )

"""GPU leases: who holds which card of a host. The row of ``gpu_slot`` is the mutual exclusion; the lease says who and since when.

Whole cards have one slot each, number 0. A lease ends only with ``release``, called when the end of the container was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NoGpuError, NotFoundError, RequestError
from registry.tables import GpuLeaseRow, GpuSlotRow, now


class LeaseState(str, Enum):
    """The life of a lease; all but ``released`` hold their cards. ``stuck``: the job ended but its memory is still on the card."""

    RESERVED = "reserved"
    STARTING = "starting"
    ACTIVE = "active"
    RELEASING = "releasing"
    STUCK = "stuck"
    RELEASED = "released"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class LeaseRecord:
    """One lease. ``uuids`` are the cards as they were asked for; ``boot_id`` tells whether the host was rebooted since."""

    id: int
    host: str
    job_id: str
    attempt: int
    uuids: tuple[str, ...]
    state: LeaseState
    boot_id: str
    created_at: datetime
    container_id: str | None = None
    note: str = ""


def take(
    session: Session, host: str, job_id: str, attempt: int, uuids: Sequence[str], *, boot_id: str = "", runner_id: str = ""
) -> LeaseRecord:
    """Lease all these cards, or none. Repeating it for the same attempt and cards gives the lease it already has.

    Raises ``NoGpuError`` naming who holds what, ``ConflictError`` when the attempt holds other cards.
    """
    _check_uuids(uuids)
    held = _open_lease(session, job_id, attempt)
    if held is not None:
        return _same_lease(held, host, uuids)
    _ensure_slots(session, host, uuids)
    with session.begin_nested():  # a caller that catches NoGpuError must not commit half of it
        row = _new_lease(session, host, job_id, attempt, uuids, boot_id, runner_id)
        _take_slots(session, row, uuids)
    return _record(row)


def release(session: Session, job_id: str, attempt: int, *, note: str = "") -> None:
    """Give the attempt's cards back. May be repeated, also for an attempt that never had any."""
    row = _open_lease(session, job_id, attempt)
    if row is None:
        return
    session.execute(update(GpuSlotRow).where(GpuSlotRow.lease_id == row.id).values(lease_id=None))
    row.state, row.updated_at, row.note = LeaseState.RELEASED.value, now(), note or row.note
    session.flush()


def mark(
    session: Session, job_id: str, attempt: int, state: LeaseState, *, container_id: str | None = None, note: str | None = None
) -> LeaseRecord:
    """Note where an open lease stands; ``released`` is ``release``'s alone. Raises ``NotFoundError`` when the attempt holds none."""
    row = _open_lease(session, job_id, attempt)
    if row is None:
        raise NotFoundError(f"attempt {attempt} of job {job_id} holds no GPUs", hint="`sluice gpu list` says who holds each card.")
    if state is LeaseState.RELEASED:
        raise RequestError("a lease is released with release(), which gives its cards back", hint="Call release().")
    row.state, row.updated_at = state.value, now()
    row.container_id = container_id if container_id is not None else row.container_id
    row.note = note if note is not None else row.note
    session.flush()
    return _record(row)


def find_lease(session: Session, job_id: str, attempt: int) -> LeaseRecord | None:
    """The attempt's lease, also a released one, or None."""
    row = session.scalar(select(GpuLeaseRow).where(GpuLeaseRow.job_id == job_id, GpuLeaseRow.attempt == attempt))
    return _record(row) if row else None


def list_open(session: Session, host: str | None = None) -> list[LeaseRecord]:
    """Every lease that holds cards, oldest first; of one host or of all."""
    query = select(GpuLeaseRow).where(GpuLeaseRow.state != LeaseState.RELEASED.value).order_by(GpuLeaseRow.id)
    return [_record(row) for row in session.scalars(query if host is None else query.where(GpuLeaseRow.host == host))]


def _check_uuids(uuids: Sequence[str]) -> None:
    if not uuids or len(set(uuids)) != len(uuids) or "" in uuids:
        raise RequestError(
            f"a lease names at least one card and each card once, not {list(uuids)}",
            hint="A job without GPUs takes no lease.",
            uuids=list(uuids),
        )


def _open_lease(session: Session, job_id: str, attempt: int) -> GpuLeaseRow | None:
    query = select(GpuLeaseRow).where(GpuLeaseRow.job_id == job_id, GpuLeaseRow.attempt == attempt)
    return session.scalar(query.where(GpuLeaseRow.state != LeaseState.RELEASED.value))


def _same_lease(row: GpuLeaseRow, host: str, uuids: Sequence[str]) -> LeaseRecord:
    if row.host == host and set(row.uuids) == set(uuids):
        return _record(row)
    raise ConflictError(
        f"attempt {row.attempt} of job {row.job_id} holds other cards: {', '.join(row.uuids)} on {row.host}",
        hint="Release them first, or take the same cards again.",
        held=list(row.uuids),
    )


def _ensure_slots(session: Session, host: str, uuids: Sequence[str]) -> None:
    """A slot for every card; two writers may add the same one. Sorted, so that they cannot wait for each other in a circle."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = [{"host": host, "uuid": uuid, "slot": 0} for uuid in sorted(uuids)]
    session.execute(insert(GpuSlotRow).values(rows).on_conflict_do_nothing())


def _new_lease(session: Session, host: str, job_id: str, attempt: int, uuids: Sequence[str], boot_id: str, runner_id: str) -> GpuLeaseRow:
    """A fresh lease row; an attempt that gave its cards back before it started takes its old row again."""
    moment = now()
    row = session.scalar(select(GpuLeaseRow).where(GpuLeaseRow.job_id == job_id, GpuLeaseRow.attempt == attempt))
    if row is None:
        row = GpuLeaseRow(job_id=job_id, attempt=attempt, exclusive=True, created_at=moment)
        session.add(row)
    row.host, row.uuids, row.state, row.boot_id, row.runner_id = host, list(uuids), LeaseState.RESERVED.value, boot_id, runner_id
    row.container_id, row.note, row.created_at, row.updated_at = None, "", moment, moment
    session.flush()
    return row


def _take_slots(session: Session, lease: GpuLeaseRow, uuids: Sequence[str]) -> None:
    wanted = (GpuSlotRow.host == lease.host, GpuSlotRow.uuid.in_(uuids))
    order = (GpuSlotRow.uuid, GpuSlotRow.slot)
    slots = session.execute(select(GpuSlotRow.uuid, GpuSlotRow.lease_id).where(*wanted).order_by(*order).with_for_update()).all()
    holders = {uuid: lease_id for uuid, lease_id in slots if lease_id is not None}
    if holders:
        raise _held_by_others(session, lease.host, uuids, holders)
    taken = session.execute(update(GpuSlotRow).where(*wanted, GpuSlotRow.lease_id.is_(None)).values(lease_id=lease.id))
    if taken.rowcount != len(slots):  # type: ignore[attr-defined]
        raise NoGpuError(f"cards on {lease.host} were taken at the same moment", hint="Try again.", uuids=list(uuids))


def _held_by_others(session: Session, host: str, uuids: Sequence[str], holders: dict[str, int]) -> NoGpuError:
    leases = {row.id: row for row in session.scalars(select(GpuLeaseRow).where(GpuLeaseRow.id.in_(holders.values())))}
    by_card = {uuid: leases[holders[uuid]].job_id for uuid in uuids if uuid in holders}
    named = ", ".join(f"{uuid} by job {job_id}" for uuid, job_id in by_card.items())
    return NoGpuError(
        f"{len(by_card)} of the {len(uuids)} cards asked for on {host} are held: {named}",
        hint="Wait for those jobs, cancel one, or ask for fewer.",
        held=by_card,
    )


def _record(row: GpuLeaseRow) -> LeaseRecord:
    return LeaseRecord(
        id=row.id,
        host=row.host,
        job_id=row.job_id,
        attempt=row.attempt,
        uuids=tuple(row.uuids),
        state=LeaseState(row.state),
        boot_id=row.boot_id,
        created_at=row.created_at,
        container_id=row.container_id,
        note=row.note,
    )

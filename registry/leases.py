"""GPU leases: who holds which card of a host. The row of ``gpu_slot`` is the mutual exclusion; the lease says who and since when.

A card has one slot, number 0, or several where it may be shared. A lease on the whole card takes every slot it has, a shared one a single slot.
A lease ends only with ``release``, called when the end of the container was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NoGpuError, NotFoundError, RequestError
from registry.tables import GpuLeaseRow, GpuSlotRow, JobRow, now


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
    """One lease. ``uuids`` are the cards as they were asked for; ``boot_id`` tells whether the host was rebooted since.

    ``container_id`` is set before the container starts: until then nothing of the job can be on the cards. ``shared_bytes`` is what a job on
    shared cards declared for each, None where the cards are its own. ``updated_at`` is when the state was last set.
    """

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
    shared_bytes: int | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Share:
    """A wish to share: memory declared for each card, and by uuid how many slots a card has and how many bytes may be declared on it in all."""

    declared_bytes: int
    slots: Mapping[str, int]
    room_bytes: Mapping[str, int]


def take(
    session: Session,
    host: str,
    job_id: str,
    attempt: int,
    uuids: Sequence[str],
    *,
    boot_id: str = "",
    runner_id: str = "",
    share: Share | None = None,
) -> LeaseRecord:
    """Lease all these cards, or none: whole, or with ``share`` one slot of each.

    Repeating it for the same attempt and cards gives the lease it already has. Raises ``NoGpuError`` naming who holds what, ``ConflictError``
    when the attempt holds other cards.
    """
    _check_uuids(uuids)
    held = _open_lease(session, job_id, attempt)
    if held is not None:
        return _same_lease(held, host, uuids)
    _ensure_slots(session, host, {uuid: share.slots[uuid] if share else 1 for uuid in uuids})
    with session.begin_nested():  # a caller that catches NoGpuError must not commit half of it
        row = _new_lease(session, host, job_id, attempt, uuids, boot_id, runner_id, share)
        _take_shares(session, row, share) if share else _take_slots(session, row, uuids)
    return _record(row)


def release(session: Session, job_id: str, attempt: int, *, note: str = "", states: Collection[LeaseState] = tuple(LeaseState)) -> None:
    """Give the attempt's cards back. May be repeated, also for an attempt that never had any; does nothing in a state that is not in ``states``."""
    row = _open_lease(session, job_id, attempt)
    if row is None or LeaseState(row.state) not in states:
        return
    own = GpuSlotRow.lease_id == row.id
    # In the order in which they are taken: otherwise who takes and who releases could wait for each other in a circle.
    session.execute(select(GpuSlotRow.slot).where(own).order_by(GpuSlotRow.uuid, GpuSlotRow.slot).with_for_update()).all()
    session.execute(update(GpuSlotRow).where(own).values(lease_id=None))
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


def owners(session: Session, job_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """User and project of each of these jobs; jobs that are not on record are left out."""
    wanted = sorted(set(job_ids))
    rows = session.execute(select(JobRow.id, JobRow.user, JobRow.project).where(JobRow.id.in_(wanted))) if wanted else ()
    return {job_id: (user, project) for job_id, user, project in rows}


def containers(session: Session, job_ids: Iterable[str]) -> dict[str, tuple[int, str]]:
    """The present attempt and its container's id ('' when none was made) of each of these jobs; unknown jobs are left out."""
    wanted = sorted(set(job_ids))
    rows = session.execute(select(JobRow.id, JobRow.attempt, JobRow.container_id).where(JobRow.id.in_(wanted))) if wanted else ()
    return {job_id: (attempt, container_id or "") for job_id, attempt, container_id in rows}


def engines(session: Session, host: str) -> set[str]:
    """Where the containers are of jobs that hold cards of the host."""
    held = (GpuLeaseRow.host == host, GpuLeaseRow.state != LeaseState.RELEASED.value)
    return set(session.scalars(select(JobRow.engine).distinct().join(GpuLeaseRow, GpuLeaseRow.job_id == JobRow.id).where(*held)))


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


def _ensure_slots(session: Session, host: str, slots: Mapping[str, int]) -> None:
    """As many slots as each card should have; two writers may add the same one. Sorted, so that they cannot wait for each other in a circle."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    rows = [{"host": host, "uuid": uuid, "slot": slot} for uuid in sorted(slots) for slot in range(slots[uuid])]
    session.execute(insert(GpuSlotRow).values(rows).on_conflict_do_nothing())


def _new_lease(
    session: Session, host: str, job_id: str, attempt: int, uuids: Sequence[str], boot_id: str, runner_id: str, share: Share | None
) -> GpuLeaseRow:
    """A fresh lease row; an attempt that gave its cards back before it started takes its old row again."""
    moment = now()
    row = session.scalar(select(GpuLeaseRow).where(GpuLeaseRow.job_id == job_id, GpuLeaseRow.attempt == attempt))
    if row is None:
        row = GpuLeaseRow(job_id=job_id, attempt=attempt)
        session.add(row)
    row.host, row.uuids, row.state, row.boot_id, row.runner_id = host, list(uuids), LeaseState.RESERVED.value, boot_id, runner_id
    row.container_id, row.note, row.created_at, row.updated_at = None, "", moment, moment
    row.exclusive, row.bytes = share is None, share.declared_bytes if share else None
    session.flush()
    return row


def _take_slots(session: Session, lease: GpuLeaseRow, uuids: Sequence[str]) -> None:
    """Every slot that the cards have, however many."""
    slots = _locked_slots(session, lease.host, uuids)
    holders: dict[str, set[int]] = {}
    for slot in slots:
        if slot.lease_id is not None:
            holders.setdefault(slot.uuid, set()).add(slot.lease_id)
    if holders:
        raise _held_by_others(session, lease.host, uuids, holders)
    wanted = (GpuSlotRow.host == lease.host, GpuSlotRow.uuid.in_(uuids), GpuSlotRow.lease_id.is_(None))
    taken = session.execute(update(GpuSlotRow).where(*wanted).values(lease_id=lease.id))
    if taken.rowcount != len(slots):  # type: ignore[attr-defined]
        raise _taken_meanwhile(lease.host, uuids)


def _take_shares(session: Session, lease: GpuLeaseRow, share: Share) -> None:
    slots = _locked_slots(session, lease.host, lease.uuids)
    held_by = {slot.lease_id for slot in slots if slot.lease_id is not None}
    others = {row.id: row for row in session.scalars(select(GpuLeaseRow).where(GpuLeaseRow.id.in_(held_by)))}
    for uuid in lease.uuids:
        own = [slot for slot in slots if slot.uuid == uuid]
        holders = [others[slot.lease_id] for slot in own if slot.lease_id is not None]
        free = [slot.slot for slot in own if slot.lease_id is None and slot.slot < share.slots[uuid]]
        declared = share.declared_bytes + sum(other.bytes or 0 for other in holders)
        if not free or any(other.exclusive for other in holders) or declared > share.room_bytes[uuid]:
            raise _held_by_others(session, lease.host, lease.uuids, {uuid: {other.id for other in holders}})
        place = (GpuSlotRow.host == lease.host, GpuSlotRow.uuid == uuid, GpuSlotRow.slot == min(free), GpuSlotRow.lease_id.is_(None))
        if session.execute(update(GpuSlotRow).where(*place).values(lease_id=lease.id)).rowcount != 1:  # type: ignore[attr-defined]
            raise _taken_meanwhile(lease.host, lease.uuids)


def _locked_slots(session: Session, host: str, uuids: Sequence[str]) -> Sequence[Any]:
    query = select(GpuSlotRow.uuid, GpuSlotRow.slot, GpuSlotRow.lease_id).where(GpuSlotRow.host == host, GpuSlotRow.uuid.in_(uuids))
    return session.execute(query.order_by(GpuSlotRow.uuid, GpuSlotRow.slot).with_for_update()).all()


def _held_by_others(session: Session, host: str, uuids: Sequence[str], holders: Mapping[str, set[int]]) -> NoGpuError:
    ids = {lease_id for held_by in holders.values() for lease_id in held_by}
    jobs = {row.id: row.job_id for row in session.scalars(select(GpuLeaseRow).where(GpuLeaseRow.id.in_(ids)))}
    by_card = {uuid: ", ".join(sorted(jobs[lease_id] for lease_id in holders[uuid])) for uuid in uuids if uuid in holders}
    named = ", ".join(f"{uuid} by job {job_id}" if job_id else f"{uuid} has too little memory" for uuid, job_id in by_card.items())
    return NoGpuError(
        f"{len(by_card)} of the {len(uuids)} cards asked for on {host} are held: {named}",
        hint="Wait for those jobs, cancel one, or ask for fewer.",
        held=by_card,
    )


def _taken_meanwhile(host: str, uuids: Sequence[str]) -> NoGpuError:
    return NoGpuError(f"cards on {host} were taken at the same moment", hint="Try again.", uuids=list(uuids))


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
        shared_bytes=None if row.exclusive else row.bytes or 0,
        updated_at=row.updated_at,
    )

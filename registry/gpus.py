"""GPUs as a host knows them: devices with their health, what happened to them, and the pools they are in.

Devices and events belong to one host; a pool may have devices of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError, RequestError
from contracts.job import NAME_PATTERN
from registry.tables import GpuDeviceRow, GpuEventRow, GpuPoolRow, now

#: Given as a quota: none any more.
NO_LIMIT = -1
MOST_SLOTS = 64


@dataclass(frozen=True)
class DeviceRecord:
    """A card or MIG slice as it was last seen, and what is known of its health.

    ``pool`` '' is the default pool. ``reasons`` are the taints that ``health`` follows from, ``counters`` what the next look is compared with;
    both are ``runner.gpus``'s. ``missing_since``: no longer in the snapshot.
    """

    host: str
    uuid: str
    kind: str
    parent_uuid: str
    model: str
    profile: str
    total_bytes: int
    index: int
    pci: str
    boot_id: str
    driver: str
    first_seen: datetime
    last_seen: datetime
    missing_since: datetime | None = None
    pool: str = ""
    drained: bool = False
    health: str = "ok"
    reasons: tuple[Mapping[str, Any], ...] = ()
    counters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EventRecord:
    """Something that happened to a device; ``job_id`` is the job that held it."""

    id: int
    host: str
    uuid: str
    kind: str
    job_id: str | None
    detail: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class PoolRecord:
    """A set of devices with a purpose. ``slots``: jobs that may share a card. Empty ``users``, ``projects`` and ``kinds`` allow everybody."""

    name: str
    purpose: str = ""
    slots: int = 1
    max_gpus_per_user: int | None = None
    max_gpus_per_project: int | None = None
    users: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    drained: bool = False


# ---------------------------------------------------------------------------------------------------------------- devices


def list_devices(session: Session, host: str) -> list[DeviceRecord]:
    """Every device the host has or had, in the order of index and uuid."""
    query = select(GpuDeviceRow).where(GpuDeviceRow.host == host).order_by(GpuDeviceRow.idx, GpuDeviceRow.uuid)
    return [_device(row) for row in session.scalars(query)]


def save_devices(session: Session, devices: Iterable[DeviceRecord]) -> None:
    """Add or change these devices. What an operator said of a device that is there already (pool, drained) is kept."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for device in sorted(devices, key=lambda device: (device.host, device.uuid)):  # in one order: two writers must not wait in a circle
        values = _columns(device)
        kept = {"host", "uuid", "first_seen", "pool", "drained"}
        changes = {name: value for name, value in values.items() if name not in kept}
        session.execute(insert(GpuDeviceRow).values(values).on_conflict_do_update(index_elements=["host", "uuid"], set_=changes))


def set_device(session: Session, host: str, uuid: str, **values: Any) -> None:
    """Change columns of one device. Raises ``NotFoundError``."""
    change = update(GpuDeviceRow).where(GpuDeviceRow.host == host, GpuDeviceRow.uuid == uuid).values(**values)
    if session.execute(change).rowcount == 0:  # type: ignore[attr-defined]
        raise NotFoundError(f"{host} has no GPU {uuid}", hint="`sluice gpu list` shows those there are.", uuid=uuid)


def remove_devices(session: Session, host: str, uuids: Iterable[str]) -> None:
    """Forget devices; what happened to them stays on record."""
    session.execute(delete(GpuDeviceRow).where(GpuDeviceRow.host == host, GpuDeviceRow.uuid.in_(sorted(uuids))))


# ----------------------------------------------------------------------------------------------------------------- events


def add_event(
    session: Session, host: str, uuid: str, kind: str, *, job_id: str | None = None, detail: Mapping[str, Any] | None = None
) -> None:
    session.add(GpuEventRow(host=host, uuid=uuid, kind=kind, job_id=job_id, detail=dict(detail or {}), created_at=now()))
    session.flush()


def list_events(
    session: Session, *, host: str | None = None, uuid: str | None = None, job_id: str | None = None, limit: int = 50
) -> list[EventRecord]:
    """Newest first; of one host, device or job, or of all."""
    wanted = {GpuEventRow.host: host, GpuEventRow.uuid: uuid, GpuEventRow.job_id: job_id}
    query = select(GpuEventRow).where(*(column == value for column, value in wanted.items() if value is not None))
    rows = session.scalars(query.order_by(GpuEventRow.id.desc()).limit(limit))
    return [EventRecord(row.id, row.host, row.uuid, row.kind, row.job_id, row.detail, row.created_at) for row in rows]


def remove_events(session: Session, host: str, before: datetime) -> None:
    """Forget what happened on the host long ago."""
    session.execute(delete(GpuEventRow).where(GpuEventRow.host == host, GpuEventRow.created_at < before))


# ------------------------------------------------------------------------------------------------------------------ pools


def list_pools(session: Session) -> list[PoolRecord]:
    """By name."""
    return [_pool(row) for row in session.scalars(select(GpuPoolRow).order_by(GpuPoolRow.name))]


def get_pool(session: Session, name: str, *, lock: bool = False) -> PoolRecord:
    """Raises ``NotFoundError`` naming the pools there are. ``lock`` keeps others from changing it, or counting in it, meanwhile."""
    row = session.get(GpuPoolRow, name, with_for_update=lock, populate_existing=lock)
    if row is None:
        raise _no_pool(session, name)
    return _pool(row)


def put_pool(
    session: Session,
    name: str,
    *,
    purpose: str | None = None,
    slots: int | None = None,
    max_gpus_per_user: int | None = None,
    max_gpus_per_project: int | None = None,
    users: Sequence[str] | None = None,
    projects: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    drained: bool | None = None,
) -> PoolRecord:
    """Make the pool or change it: None leaves a value as it is, ``NO_LIMIT`` takes a quota away. Raises ``RequestError``."""
    _check_pool(name, slots, {"max_gpus_per_user": max_gpus_per_user, "max_gpus_per_project": max_gpus_per_project})
    row = session.get(GpuPoolRow, name, with_for_update=True, populate_existing=True) or _new_pool(session, name)
    given = {
        "purpose": purpose,
        "slots": slots,
        "users": None if users is None else sorted(set(users)),
        "projects": None if projects is None else sorted(set(projects)),
        "kinds": None if kinds is None else sorted(set(kinds)),
        "drained": drained,
    }
    for column, value in given.items():
        if value is not None:
            setattr(row, column, value)
    for column, quota in (("max_gpus_per_user", max_gpus_per_user), ("max_gpus_per_project", max_gpus_per_project)):
        if quota is not None:
            setattr(row, column, None if quota == NO_LIMIT else quota)
    session.flush()
    return _pool(row)


def remove_pool(session: Session, name: str) -> None:
    """Raises ``NotFoundError``, and ``ConflictError`` while devices are in it."""
    row = session.get(GpuPoolRow, name)
    if row is None:
        raise _no_pool(session, name)
    members = sorted(uuid for _, uuid in members_of(session, name))
    if members:
        raise ConflictError(
            f"the pool {name} is not empty: {', '.join(members)}",
            hint="Assign them to another pool first: `sluice gpu pool assign UUID POOL`, with '' for the default pool.",
            uuids=members,
        )
    session.delete(row)
    session.flush()


def members_of(session: Session, name: str) -> set[tuple[str, str]]:
    """Host and uuid of every device in the pool, with the slices of its cards."""
    rows = session.execute(select(GpuDeviceRow.host, GpuDeviceRow.uuid, GpuDeviceRow.parent_uuid, GpuDeviceRow.pool)).all()
    cards = {(host, uuid) for host, uuid, parent, pool in rows if pool == name}
    return cards | {(host, uuid) for host, uuid, parent, pool in rows if not pool and parent and (host, parent) in cards}


# ---------------------------------------------------------------------------------------------------------------- records


def _columns(device: DeviceRecord) -> dict[str, Any]:
    values = {name: getattr(device, name) for name in DeviceRecord.__dataclass_fields__ if name != "index"}
    return {**values, "idx": device.index, "reasons": [dict(reason) for reason in device.reasons], "counters": dict(device.counters)}


def _device(row: GpuDeviceRow) -> DeviceRecord:
    same = set(DeviceRecord.__dataclass_fields__) - {"index", "reasons", "counters"}
    values = {name: getattr(row, name) for name in same}
    return DeviceRecord(**values, index=row.idx, reasons=tuple(row.reasons), counters=row.counters)


def _new_pool(session: Session, name: str) -> GpuPoolRow:
    row = GpuPoolRow(name=name, purpose="", slots=1, users=[], projects=[], kinds=[], drained=False, created_at=now())
    session.add(row)
    return row


def _pool(row: GpuPoolRow) -> PoolRecord:
    return PoolRecord(
        name=row.name,
        purpose=row.purpose,
        slots=row.slots,
        max_gpus_per_user=row.max_gpus_per_user,
        max_gpus_per_project=row.max_gpus_per_project,
        users=tuple(row.users),
        projects=tuple(row.projects),
        kinds=tuple(row.kinds),
        drained=row.drained,
    )


def _no_pool(session: Session, name: str) -> NotFoundError:
    known = ", ".join(pool.name for pool in list_pools(session)) or "none"
    return NotFoundError(f"there is no GPU pool {name!r}", hint=f"Known: {known}.", pool=name)


def _check_pool(name: str, slots: int | None, quotas: Mapping[str, int | None]) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise RequestError(
            f"{name!r:.100} cannot be the name of a pool", hint="Use letters, digits, dots, dashes and underscores, at most 64.", name=name
        )
    if slots is not None and not 1 <= slots <= MOST_SLOTS:
        raise RequestError(
            f"a card cannot have {slots} slots", hint=f"Give 1 for whole cards, up to {MOST_SLOTS} to share them.", slots=slots
        )
    for column, quota in quotas.items():
        if quota is not None and not NO_LIMIT <= quota < 2**31:
            raise RequestError(
                f"{column} cannot be {quota}", hint=f"Give a whole number from 0, or {NO_LIMIT} for no limit.", **{column: quota}
            )

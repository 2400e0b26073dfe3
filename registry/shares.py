"""Shares of users and projects: their weights and quotas, and the GPU-seconds they used, of which old ones count less.

Use halves every half-life. A row keeps it as of ``used_until``; ``decay`` brings it to any later time, and the order of two owners never
changes by decay alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from contracts.errors import RequestError
from registry.prepared import Prepared
from registry.tables import ShareRow, now

USER, PROJECT = "user", "project"
#: Given as a quota: none any more.
NO_LIMIT = -1
#: Rows of one statement: a database takes only so many values at once.
_AT_ONCE = 500
_SHARES: Any = ShareRow.__table__
_ALL = Prepared(select(_SHARES).order_by(_SHARES.c.kind, _SHARES.c.name))


@dataclass(frozen=True)
class ShareRecord:
    """``kind`` is ``user`` or ``project``. A quota of None is no limit. ``usage_gpu_s`` is as of ``used_until``."""

    kind: str
    name: str
    weight: float
    max_gpus: int | None
    max_jobs: int | None
    usage_gpu_s: float
    used_until: datetime


def decay(usage_gpu_s: float, from_s: float, to_s: float, half_life_s: float) -> float:
    """What is left of a use between two times (Unix seconds). Time that goes backwards changes nothing; without a half-life nothing is left."""
    elapsed_s = to_s - from_s
    if elapsed_s <= 0:
        return usage_gpu_s
    return usage_gpu_s * 0.5 ** (elapsed_s / half_life_s) if half_life_s > 0 else 0.0


def list_shares(session: Session) -> list[ShareRecord]:
    """Everybody with settings or use, projects first, by name."""
    return [_record(row) for row in _ALL.run(session)]


def find_share(session: Session, kind: str, name: str) -> ShareRecord | None:
    """None for who has neither settings nor use: their weight is 1 and they have no limit."""
    row = session.get(ShareRow, (kind, name))
    return _record(row) if row else None


def set_share(
    session: Session, kind: str, name: str, *, weight: float | None = None, max_gpus: int | None = None, max_jobs: int | None = None
) -> ShareRecord:
    """Change what is given; None leaves a value as it is, ``NO_LIMIT`` takes a quota away. Raises ``RequestError``."""
    _check_owner(kind, name)
    _check_values(weight, {"max_gpus": max_gpus, "max_jobs": max_jobs})
    _ensure(session, [(kind, name)], now())
    row = session.get_one(ShareRow, (kind, name), with_for_update=True)
    if weight is not None:
        row.weight = weight
    if max_gpus is not None:
        row.max_gpus = None if max_gpus == NO_LIMIT else max_gpus
    if max_jobs is not None:
        row.max_jobs = None if max_jobs == NO_LIMIT else max_jobs
    session.flush()
    return _record(row)


def charge(session: Session, used: Mapping[tuple[str, str], float], until: datetime, half_life_s: float) -> None:
    """Add the GPU-seconds that each ``(kind, name)`` used up to now, after what they used before has decayed. Raises ``RequestError``."""
    for (kind, name), gpu_s in used.items():
        _check_owner(kind, name)
        _check_use(gpu_s)
    owners = sorted(used)  # in one order, so that two writers cannot wait for each other in a circle
    _ensure(session, owners, until)
    for kind in sorted({kind for kind, _ in owners}):
        names = [name for owner_kind, name in owners if owner_kind == kind]
        for begin in range(0, len(names), _AT_ONCE):
            query = (
                select(ShareRow).where(ShareRow.kind == kind, ShareRow.name.in_(names[begin : begin + _AT_ONCE])).order_by(ShareRow.name)
            )
            for row in session.scalars(query.with_for_update().execution_options(populate_existing=True)):
                row.usage_gpu_s = decay(row.usage_gpu_s, row.used_until.timestamp(), until.timestamp(), half_life_s) + used[kind, row.name]
                row.used_until = max(row.used_until, until)
    session.flush()


def _ensure(session: Session, owners: list[tuple[str, str]], moment: datetime) -> None:
    """A row for each; two writers may add the same one."""
    insert: Any = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for begin in range(0, len(owners), _AT_ONCE):
        rows = [
            {"kind": kind, "name": name, "weight": 1.0, "usage_gpu_s": 0.0, "used_until": moment}
            for kind, name in owners[begin : begin + _AT_ONCE]
        ]
        session.execute(insert(ShareRow).values(rows).on_conflict_do_nothing())


def _check_owner(kind: str, name: str) -> None:
    if kind not in (USER, PROJECT):
        raise RequestError(f"{kind!r} has no share", hint=f"Known: {USER}, {PROJECT}.", kind=kind)
    if not name or len(name) > 200 or not name.isprintable():
        raise RequestError(f"{name!r:.100} cannot be the name of a {kind}", hint="Use 1 to 200 printable characters.", name=name)


def _check_values(weight: float | None, quotas: Mapping[str, int | None]) -> None:
    if weight is not None and not (math.isfinite(weight) and weight > 0):
        raise RequestError(
            f"a weight of {weight:g} is impossible", hint="Give a number above 0; 1 is everybody's weight at first.", weight=weight
        )
    for name, quota in quotas.items():
        if quota is not None and not NO_LIMIT <= quota < 2**31:
            raise RequestError(
                f"{name} cannot be {quota}", hint=f"Give a whole number from 0, or {NO_LIMIT} for no limit.", **{name: quota}
            )


def _check_use(gpu_s: float) -> None:
    if not (math.isfinite(gpu_s) and gpu_s >= 0):
        raise RequestError(f"a use of {gpu_s} GPU-seconds is impossible", hint="Give the time since the last charge times the GPUs held.")


def _record(row: ShareRow) -> ShareRecord:
    return ShareRecord(
        kind=row.kind,
        name=row.name,
        weight=row.weight,
        max_gpus=row.max_gpus,
        max_jobs=row.max_jobs,
        usage_gpu_s=row.usage_gpu_s,
        used_until=row.used_until,
    )

"""Presets: saved requests, by name. A job that was made from one is a job like any other and knows nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError
from registry.lookup import check_folder_name, not_found
from registry.tables import PresetRow, now


@dataclass(frozen=True)
class PresetRecord:
    """``request`` holds fields of a ``JobSpec``, always ``kind``; ``from_job`` is the job that it was saved from."""

    name: str
    request: dict[str, Any]
    from_job: str | None
    user: str
    created_at: datetime
    updated_at: datetime


def add_preset(session: Session, *, name: str, request: Mapping[str, Any], from_job: str | None = None, user: str = "") -> PresetRecord:
    """Store a preset. Raises ``ConflictError`` when the name is taken."""
    check_folder_name("preset", name)
    if session.get(PresetRow, name) is not None:
        raise ConflictError(
            f"there is a preset {name!r} already", hint=f"Change it: sluice preset edit {name}; or choose another name.", name=name
        )
    moment = now()
    row = PresetRow(name=name, request=dict(request), from_job=from_job, user=user, created_at=moment, updated_at=moment)
    session.add(row)
    session.flush()
    return _record(row)


def get_preset(session: Session, name: str) -> PresetRecord:
    """Raises ``NotFoundError``."""
    return _record(_row(session, name))


def list_presets(session: Session) -> list[PresetRecord]:
    """By name."""
    return [_record(row) for row in session.scalars(select(PresetRow).order_by(PresetRow.name))]


def replace_preset(session: Session, name: str, request: Mapping[str, Any]) -> PresetRecord:
    """Another request under the same name. Raises ``NotFoundError``."""
    row = _row(session, name)
    row.request, row.updated_at = dict(request), now()
    session.flush()
    return _record(row)


def remove_preset(session: Session, name: str) -> PresetRecord:
    """Forget it. Raises ``NotFoundError``."""
    row = _row(session, name)
    record = _record(row)
    session.delete(row)
    session.flush()
    return record


def _row(session: Session, name: str) -> PresetRow:
    row = session.get(PresetRow, name)
    if row is None:
        raise not_found("preset", name, session.scalars(select(PresetRow.name)), "sluice preset list")
    return row


def _record(row: PresetRow) -> PresetRecord:
    return PresetRecord(row.name, dict(row.request), row.from_job, row.user, row.created_at, row.updated_at)

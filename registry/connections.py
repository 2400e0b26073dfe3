"""Named connections to stores. Secrets are not in the database: a row names the file below ``<home>/secrets`` that holds one."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError
from registry.lookup import not_found
from registry.tables import ConnectionRow


@dataclass(frozen=True)
class ConnectionRecord:
    """As ``contracts.connection.Connection``; ``secret_file`` '' where no secret is kept."""

    name: str
    endpoint: str
    region: str
    bucket: str
    prefix: str
    access_key: str
    profile: str
    authority: str
    addressing: str
    secret_file: str


def put_connection(session: Session, record: ConnectionRecord, *, overwrite: bool = False) -> ConnectionRecord | None:
    """Keep it; returns the former one of this name. Raises ``ConflictError`` when there is one and ``overwrite`` does not allow it."""
    row = session.get(ConnectionRow, record.name, with_for_update=True)
    former = _record(row) if row else None
    if former and not overwrite:
        raise ConflictError(
            f"there is a connection {record.name!r} already", hint="Say --overwrite, or choose another name.", name=record.name
        )
    session.merge(ConnectionRow(**asdict(record)))
    session.flush()
    return former


def get_connection(session: Session, name: str) -> ConnectionRecord:
    """Raises ``NotFoundError``."""
    row = session.get(ConnectionRow, name)
    if row is None:
        raise not_found("connection", name, [record.name for record in list_connections(session)], "sluice connection list")
    return _record(row)


def list_connections(session: Session) -> list[ConnectionRecord]:
    """All, by name."""
    return [_record(row) for row in session.scalars(select(ConnectionRow).order_by(ConnectionRow.name))]


def remove_connection(session: Session, name: str) -> ConnectionRecord:
    """Raises ``NotFoundError``."""
    record = get_connection(session, name)
    session.delete(session.get_one(ConnectionRow, name))
    session.flush()
    return record


def _record(row: ConnectionRow) -> ConnectionRecord:
    return ConnectionRecord(**{field: getattr(row, field) for field in ConnectionRecord.__dataclass_fields__})

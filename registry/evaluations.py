"""Evaluations: what one or several predictions were worth on one test set. The numbers lie in each one's folder; here is what a list shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError
from registry.lookup import not_found
from registry.tables import EvaluationRow, now


@dataclass(frozen=True)
class EvaluationRecord:
    """``data`` is the test set, ``name@V001:split``; ``kind`` what was evaluated, ``detection`` and so on.

    ``models``: for each prediction its ``job``, ``model``, ``stage`` and the numbers a list shows, ``metrics``. ``settings``: what was asked for.
    """

    id: str
    data: str
    kind: str
    settings: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]
    folder: str
    created_at: datetime


def add_evaluation(
    session: Session,
    *,
    id: str,  # noqa: A002 - the word of the domain
    data: str,
    kind: str,
    settings: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    folder: str,
    created_at: datetime | None = None,
) -> EvaluationRecord:
    """Store an evaluation. Raises ``ConflictError`` when there is one of that id: the same question has the same answer."""
    if find_evaluation(session, id) is not None:
        raise ConflictError(f"the evaluation {id} exists already", hint=f"`sluice evaluation show {id}`", evaluation=id)
    row = EvaluationRow(
        id=id,
        data=data,
        kind=kind,
        settings=dict(settings),
        models=[dict(model) for model in models],
        folder=folder,
        created_at=created_at or now(),
    )
    session.add(row)
    session.flush()
    return _record(row)


def get_evaluation(session: Session, reference: str) -> EvaluationRecord:
    """By id, or the beginning of one that no other has. Raises ``NotFoundError``."""
    rows = session.scalars(select(EvaluationRow).where(EvaluationRow.id.startswith(reference, autoescape=True)).limit(2)).all()
    if reference and len(rows) == 1:
        return _record(rows[0])
    exact = find_evaluation(session, reference)
    if exact is not None:
        return exact
    raise not_found("evaluation", reference, session.scalars(select(EvaluationRow.id)), "sluice evaluation list")


def find_evaluation(session: Session, id: str) -> EvaluationRecord | None:  # noqa: A002
    """By its whole id, or None."""
    row = session.get(EvaluationRow, id)
    return _record(row) if row else None


def list_evaluations(session: Session) -> list[EvaluationRecord]:
    """Newest first."""
    query = select(EvaluationRow).order_by(EvaluationRow.created_at.desc(), EvaluationRow.id)
    return [_record(row) for row in session.scalars(query)]


def _record(row: EvaluationRow) -> EvaluationRecord:
    return EvaluationRecord(
        id=row.id,
        data=row.data,
        kind=row.kind,
        settings=dict(row.settings),
        models=tuple(row.models),
        folder=row.folder,
        created_at=row.created_at,
    )

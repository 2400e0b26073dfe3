"""Predictions: annotations that models made, each in a file of its own, never mixed with ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError
from registry.prepared import Prepared
from registry.tables import PredictionRow, now

_PREDICTIONS: Any = PredictionRow.__table__
_FIND = Prepared(select(_PREDICTIONS).where(_PREDICTIONS.c.job_id == bindparam("job_id")))
_ADD = Prepared(_PREDICTIONS.insert())


@dataclass(frozen=True)
class PredictionRecord:
    """What one job predicted with a model's stage over a split of a dataset's version. ``image_count``: pictures that were looked at."""

    id: int
    job_id: str
    model_name: str
    stage_name: str
    dataset: str
    number: int
    split: str
    file: str
    image_count: int
    annotation_count: int
    created_at: datetime

    @property
    def version(self) -> str:
        """``V001``."""
        return f"V{self.number:03d}"


def add_prediction(
    session: Session,
    *,
    job_id: str,
    model_name: str,
    stage_name: str,
    dataset: str,
    number: int,
    split: str = "",
    file: str,
    image_count: int,
    annotation_count: int,
    created_at: datetime | None = None,
) -> PredictionRecord:
    """Store a prediction. Raises ``ConflictError`` when the job has one: collecting twice cannot store twice."""
    if find_prediction(session, job_id) is not None:
        raise ConflictError(
            f"job {job_id} has a prediction already", hint="A job leaves one prediction; run it again for another.", job_id=job_id
        )
    _ADD.run(
        session,
        job_id=job_id,
        model_name=model_name,
        stage_name=stage_name,
        dataset=dataset,
        number=number,
        split=split,
        file=file,
        image_count=image_count,
        annotation_count=annotation_count,
        created_at=created_at or now(),
    )
    return get_prediction(session, job_id)


def get_prediction(session: Session, job_id: str) -> PredictionRecord:
    """The job's prediction. Raises ``NotFoundError``."""
    prediction = find_prediction(session, job_id)
    if prediction is None:
        raise NotFoundError(f"job {job_id!r} left no prediction", hint=f"`sluice job show {job_id}` tells how it ended.", job_id=job_id)
    return prediction


def find_prediction(session: Session, job_id: str) -> PredictionRecord | None:
    row = _FIND.run(session, job_id=job_id).first()
    return _record(row) if row else None


def list_predictions(
    session: Session, *, model_name: str | None = None, dataset: str | None = None, number: int | None = None
) -> list[PredictionRecord]:
    """Predictions, newest first; only those of a model, a dataset, or one of its versions where named."""
    query = select(PredictionRow).order_by(PredictionRow.created_at.desc(), PredictionRow.id.desc())
    if model_name is not None:
        query = query.where(PredictionRow.model_name == model_name)
    if dataset is not None:
        query = query.where(PredictionRow.dataset == dataset)
    if number is not None:
        query = query.where(PredictionRow.number == number)
    return [_record(row) for row in session.scalars(query)]


def remove_prediction(session: Session, job_id: str) -> PredictionRecord:
    """Forget the job's prediction; returns it, so that its file can be removed after the commit."""
    record = get_prediction(session, job_id)
    session.delete(session.get_one(PredictionRow, record.id))
    session.flush()
    return record


def _record(row: Any) -> PredictionRecord:
    """Of a row with the columns of ``PredictionRow``, however it was read."""
    return PredictionRecord(
        id=row.id,
        job_id=row.job_id,
        model_name=row.model_name,
        stage_name=row.stage_name,
        dataset=row.dataset,
        number=row.number,
        split=row.split,
        file=row.file,
        image_count=row.image_count,
        annotation_count=row.annotation_count,
        created_at=row.created_at,
    )

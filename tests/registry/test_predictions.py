"""Predictions: one per job."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError
from registry.database import Database
from registry.predictions import PredictionRecord, add_prediction, find_prediction, get_prediction, list_predictions, remove_prediction


def new_prediction(session: Session, job_id: str = "i4k2m9xq", **given: object) -> PredictionRecord:
    values: dict = {"model_name": "digits-1", "stage_name": "epoch_2", "dataset": "digits", "number": 2, "split": "test"}
    values |= {"file": f"predictions/{job_id}.parquet", "image_count": 50, "annotation_count": 120}
    return add_prediction(session, job_id=job_id, **(values | given))


def test_a_prediction_is_found_by_its_job(database: Database) -> None:
    with database.writing() as session:
        stored = new_prediction(session)
    with database.reading() as session:
        assert get_prediction(session, "i4k2m9xq") == find_prediction(session, "i4k2m9xq") == stored
    assert stored.version == "V002"


def test_collecting_a_job_twice_cannot_store_twice(session: Session) -> None:
    new_prediction(session)
    with pytest.raises(ConflictError, match="i4k2m9xq has a prediction already"):
        new_prediction(session)


def test_predictions_are_listed_newest_first_and_by_what_they_are_of(session: Session) -> None:
    new_prediction(session, "i1")
    new_prediction(session, "i2", model_name="other")
    new_prediction(session, "i3", number=1)
    assert [p.job_id for p in list_predictions(session)] == ["i3", "i2", "i1"]
    assert [p.job_id for p in list_predictions(session, model_name="digits-1")] == ["i3", "i1"]
    assert [p.job_id for p in list_predictions(session, dataset="digits", number=2)] == ["i2", "i1"]


def test_a_job_without_a_prediction_is_named(session: Session) -> None:
    assert find_prediction(session, "i4k2m9xq") is None
    with pytest.raises(NotFoundError, match="'i4k2m9xq' left no prediction"):
        get_prediction(session, "i4k2m9xq")


def test_a_removed_prediction_is_gone(session: Session) -> None:
    assert new_prediction(session) == remove_prediction(session, "i4k2m9xq")
    assert list_predictions(session) == []

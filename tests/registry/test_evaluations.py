"""Evaluations: one for each question."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError
from registry.database import Database
from registry.evaluations import EvaluationRecord, add_evaluation, find_evaluation, get_evaluation, list_evaluations


def new_evaluation(session: Session, id: str = "e0123456789ab") -> EvaluationRecord:  # noqa: A002
    models = [{"job": "i1", "model": "first", "stage": "best", "metrics": {"AP": 0.5, "f1": None}}]
    return add_evaluation(
        session, id=id, data="pets@V001:test", kind="detection", settings={"iou": 0.5, "by": []}, models=models, folder=f"evaluations/{id}"
    )


def test_an_evaluation_is_found_by_its_id_or_the_beginning_of_it(database: Database) -> None:
    with database.writing() as session:
        stored = new_evaluation(session)
    with database.reading() as session:
        assert get_evaluation(session, "e012") == get_evaluation(session, stored.id) == find_evaluation(session, stored.id) == stored
    assert stored.models[0]["metrics"] == {"AP": 0.5, "f1": None}


def test_the_same_question_has_one_answer(session: Session) -> None:
    new_evaluation(session)
    with pytest.raises(ConflictError, match="e0123456789ab exists already"):
        new_evaluation(session)


def test_they_are_listed_newest_first(session: Session) -> None:
    new_evaluation(session, "e1")
    new_evaluation(session, "e2")
    assert [record.id for record in list_evaluations(session)] == ["e2", "e1"]


@pytest.mark.parametrize("reference", ["e9", "e", "", "%"])
def test_one_that_is_not_there_or_not_alone_is_named(session: Session, reference: str) -> None:
    new_evaluation(session, "e1")
    new_evaluation(session, "e2")
    with pytest.raises(NotFoundError, match="evaluation"):
        get_evaluation(session, reference)

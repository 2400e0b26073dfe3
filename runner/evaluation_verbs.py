"""What a Runner does with evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry import evaluations
from registry.evaluations import EvaluationRecord
from runner.installation import Installation
from runner.views import time_view


class EvaluationVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def evaluate(
        self,
        references: Sequence[str],
        *,
        against: str = "",
        kind: str = "",
        iou: float = 0.5,
        confidence: float = 0.3,
        by: Sequence[str] = (),
        common: bool = False,
        background: bool = False,
    ) -> dict[str, Any]:
        """What the predictions of inference jobs are worth on one test set; the same question again gives the answer of the first time.

        ``against``: a dataset version and split with labels of the same pictures, else what the first job predicted on. ``kind``: detection,
        instance, semantic or classification, else as the labels are. ``by``: tags of pictures and attributes of objects to evaluate one by
        one. ``common``: only the pictures that every job looked at. ``background``: a class of its own, in semantic segmentation.
        """
        from runner.evaluation import Question, evaluate
        from runner.export_predictions import prediction_of

        with self._installation.database.reading() as session:
            ids = tuple(prediction_of(session, reference).job_id for reference in references)
        question = Question(ids, against, kind, iou, confidence, tuple(dict.fromkeys(by)), common, background)
        return evaluate(self._installation, question)

    def list_evaluations(self) -> list[dict[str, Any]]:
        """Newest first, with the few numbers of each model that a list shows."""
        with self._installation.database.reading() as session:
            return [evaluation_view(record) for record in evaluations.list_evaluations(session)]

    def get_evaluation(self, reference: str) -> dict[str, Any]:
        """By id, or the beginning of one."""
        from runner.evaluation import document_of

        with self._installation.database.reading() as session:
            record = evaluations.get_evaluation(session, reference)
        return document_of(self._installation, record)

    def compare_evaluations(self, references: Sequence[str]) -> dict[str, Any]:
        """The models of several evaluations side by side, refused where their numbers do not mean the same."""
        from contracts.errors import RequestError
        from runner.evaluation import compare

        if not references:
            raise RequestError("no evaluations to compare", hint="Name some: sluice evaluation list")
        return compare([self.get_evaluation(reference) for reference in references])


def evaluation_view(record: EvaluationRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "data": record.data,
        "settings": dict(record.settings),
        "models": [dict(model) for model in record.models],
        "created_at": time_view(record.created_at),
    }

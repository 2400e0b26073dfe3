"""What a model found, put beside the annotations of samples that are handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from contracts.dataset import Annotation, Sample
from contracts.errors import DatasetError
from contracts.job import JobWarning
from registry import jobs
from registry.dataset_classes import list_classes, names_in
from registry.datasets import VersionRecord
from registry.predictions import PredictionRecord, find_prediction, get_prediction
from runner.dataset_files import read_predictions
from runner.installation import Installation


@dataclass(frozen=True)
class Predicted:
    """The samples with ``predictions``; ``class_names`` are those of the version and behind them those that only the model knows."""

    job: str
    samples: list[Sample]
    class_names: tuple[str, ...]
    warnings: tuple[JobWarning, ...]

    @property
    def seen(self) -> int:
        """How many of the pictures the model looked at."""
        return sum(sample.predictions is not None for sample in self.samples)


def prediction_of(session: Session, reference: str) -> PredictionRecord:
    """What a job, or an import (``import-...``), predicted; it outlives the record of its job and is known by its whole id then.

    Raises ``NotFoundError``.
    """
    if reference.startswith("import-"):
        return get_prediction(session, reference)
    return find_prediction(session, reference) or get_prediction(session, jobs.get_job(session, reference).id)


def with_predictions(installation: Installation, reference: str, version: VersionRecord, samples: Sequence[Sample]) -> Predicted:
    """Classes are called as the version calls them. Raises ``NotFoundError``, and ``DatasetError`` when the model saw none of the pictures."""
    with installation.database.reading() as session:
        record = prediction_of(session, reference)
        names = names_in(version.class_names, list_classes(session, version.dataset))
    found = read_predictions(installation.folder(record.file))
    model = f"{record.model_name}@{record.stage_name}" if record.stage_name else record.model_name
    given = [replace(sample, predictions=_called(found.get(sample.asset.id), names, model)) for sample in samples]
    more = [box.class_name for sample in given for box in sample.predictions or ()]
    predicted = Predicted(record.job_id, given, tuple(dict.fromkeys([*version.class_names, *more])), _unseen(record, given))
    if not predicted.seen:
        looked = f"{record.dataset}@{record.version}{':' if record.split else ''}{record.split}"
        raise DatasetError(
            f"{reference} predicted on {looked}: none of the pictures to be exported is among them",
            hint=f"Export {looked}, or name predictions over these pictures.",
            job=record.job_id,
        )
    return predicted


def _called(found: Sequence[Annotation] | None, names: Mapping[str, str], model: str) -> tuple[Annotation, ...] | None:
    if found is None:
        return None
    return tuple(
        replace(box, class_name=names.get(box.class_name, box.class_name), annotated_by=box.annotated_by or model) for box in found
    )


def _unseen(record: PredictionRecord, samples: Sequence[Sample]) -> tuple[JobWarning, ...]:
    unseen = sum(sample.predictions is None for sample in samples)
    message = f"{unseen} of {len(samples)} pictures have no predictions: {record.job_id} did not look at them"
    return (JobWarning("export_not_predicted", message),) if unseen else ()

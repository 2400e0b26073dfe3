"""What a mining job is given beside its candidates, where its image asks for it: predictions of a model, and what that model learnt from.

Chosen and pinned when the job is submitted, read when it is staged. Predictions come from the first of these that there is:

1. the job that the request names;
2. the newest inference with the same stage of the model that looked at all candidates;
3. an import of the dataset that brought predictions for all candidates along.

Training data are what the request names, else what the model was trained on, or without one the model that predicted: never pictures of ``test``, nor the
share that was set aside to validate it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from contracts.dataset import Annotation, Sample
from contracts.errors import DatasetError, NotFoundError, RequestError
from contracts.image import Kind, ObjectType, Wish, Wishes
from contracts.job import JobSpec, JobWarning
from registry import jobs, models
from registry.images import ImageRecord
from registry.models import ModelRecord
from registry.predictions import PredictionRecord, find_prediction, list_predictions
from runner import job_data
from runner.dataset_files import read_looked_at, read_predictions_of, read_words
from runner.export_predictions import prediction_of
from runner.installation import Installation
from runner.job_data import PinnedData
from runner.stored_samples import StoredSamples

if TYPE_CHECKING:
    from runner.submission import Choice

_FIRST_NAMES = 5
#: Of the newest predictions, how many are looked into for one that covers the candidates.
_LOOKED_INTO = 200


@dataclass(frozen=True)
class MiningInputs:
    """What was chosen; ``warnings`` says what the job goes without. ``set_aside``: the share and seed of training data that validated the model."""

    predictions: PredictionRecord | None = None
    training: PinnedData | None = None
    set_aside: tuple[float, int] | None = None
    class_names: tuple[str, ...] = ()
    warnings: tuple[JobWarning, ...] = ()

    @property
    def plan(self) -> dict[str, Any]:
        """The part of the job's plan by which it is staged; empty for a job that is given neither."""
        found: dict[str, Any] = {}
        if self.predictions:
            found["predictions"] = self.predictions.job_id
        if self.training:
            found |= {"train": str(self.training), "set_aside": list(self.set_aside) if self.set_aside else None}
        return found


def choose_inputs(installation: Installation, spec: JobSpec, choice: Choice, data: PinnedData, wishes: Wishes) -> MiningInputs:
    """What the image gets. Raises ``RequestError`` and ``DatasetError`` for what it needs and is not there, or what does not fit the job."""
    _refuse_unwanted(spec, choice, wishes)
    warnings: list[JobWarning] = []
    if wishes.predictions is not Wish.NONE:
        _refuse_other_labels(choice, data)
    predictions = _predictions(installation, spec, choice, data, wishes.predictions, warnings)
    if predictions:
        _refuse_other_predictions(installation, choice, predictions)
    model = choice.model or _that_predicted(installation, predictions)
    training, set_aside = _training(installation, spec, choice, model, wishes.training_data, warnings)
    names = () if choice.model else _class_names(installation, data, predictions, training)
    return MiningInputs(predictions, training, set_aside, names, tuple(warnings))


def object_type_of(installation: Installation, session: Session, spec: JobSpec, image: ImageRecord) -> ObjectType:
    """Of a mining without a model: what the predictions are of that it names or that were imported with its data, else what the data is labelled for."""
    data = job_data.pin(session, spec.data or "")
    record = prediction_of(session, spec.predictions) if spec.predictions else None
    record = record or next((r for r in list_predictions(session, dataset=data.version.dataset) if r.job_id.startswith("import-")), None)
    shapes = read_words(installation.folder(record.file), "shape") if record else []
    handled = image.metadata.object_types
    if shapes:
        wanted = ObjectType.CLASSIFICATION if "image" in shapes else ObjectType.DETECTION
    else:
        wanted = ObjectType(data.version.object_type) if data.version.annotation_count else ObjectType.UNKNOWN
    return wanted if wanted is not ObjectType.UNKNOWN or not handled else handled[0]


def _refuse_unwanted(spec: JobSpec, choice: Choice, wishes: Wishes) -> None:
    """What is given must have a use, and an image without predictions to read can do nothing without a model."""
    for option, given, wish in (
        ("--predictions", spec.predictions, wishes.predictions),
        ("--training-data", spec.training_data, wishes.training_data),
    ):
        if given and wish is Wish.NONE:
            raise RequestError(f"{choice.image.name} does not take {option}", hint="Leave it out, or use an image that asks for it.")
    if choice.model is None and wishes.predictions is Wish.NONE:
        raise RequestError(
            f"{choice.image.name} needs a model: it asks for no predictions, by which alone a mining could go",
            hint="Name one with --model.",
        )


# ------------------------------------------------------------------------------------------------------------- predictions


def _predictions(
    installation: Installation, spec: JobSpec, choice: Choice, data: PinnedData, wish: Wish, warnings: list[JobWarning]
) -> PredictionRecord | None:
    if wish is Wish.NONE:
        return None
    samples = job_data.read(installation, data)
    if spec.predictions:
        with installation.database.reading() as session:
            named = prediction_of(session, spec.predictions)
        return _covering(installation, named, samples, data, wish, warnings)
    with installation.database.reading() as session:
        if whole := _newest(installation, session, choice, samples):
            return whole
        found = _imported(installation, session, data, samples)
    if found:
        return _covering(installation, found, samples, data, wish, warnings)
    if wish is Wish.REQUIRED:
        raise _nothing_predicted(choice, data)
    warnings.append(JobWarning("no_predictions", f"nobody has predicted on {data}: the image works without predictions"))
    return None


def _newest(installation: Installation, session: Session, choice: Choice, samples: StoredSamples) -> PredictionRecord | None:
    if choice.model is None or choice.stage is None:
        return None
    known = [record for record in list_predictions(session, model_name=choice.model.reference) if record.stage_name == choice.stage.name]
    return next((record for record in known[:_LOOKED_INTO] if _covers(installation, record, samples)), None)


def _imported(installation: Installation, session: Session, data: PinnedData, samples: StoredSamples) -> PredictionRecord | None:
    """Of the imports of this dataset that brought predictions: the newest that covers the candidates, else the one of this version."""
    known = [record for record in list_predictions(session, dataset=data.version.dataset) if record.job_id.startswith("import-")]
    whole = next((record for record in known[:_LOOKED_INTO] if _covers(installation, record, samples)), None)
    return whole or next((record for record in known if record.number == data.version.number), None)


def _covers(installation: Installation, record: PredictionRecord, samples: StoredSamples) -> bool:
    """Whether all candidates were looked at; none are named, for many predictions are asked."""
    return bool(pc.all(_looked_at(installation, record, samples), min_count=0).as_py())


def _missing(installation: Installation, record: PredictionRecord, samples: StoredSamples) -> list[str]:
    """The candidates that were not looked at."""
    return list(samples.ids.filter(pc.invert(_looked_at(installation, record, samples))).to_pylist())


def _looked_at(installation: Installation, record: PredictionRecord, samples: StoredSamples) -> pa.Array:
    """Of each candidate whether it was looked at. A file that was lost covers nothing."""
    try:
        looked_at = read_looked_at(installation.folder(record.file))
    except DatasetError:
        looked_at = pa.array([], pa.string())
    return pc.is_in(samples.ids, value_set=looked_at)


def _covering(
    installation: Installation, record: PredictionRecord, samples: StoredSamples, data: PinnedData, wish: Wish, warnings: list[JobWarning]
) -> PredictionRecord:
    missing = _missing(installation, record, samples)
    if not missing:
        return record
    names = sorted(name or asset for name, asset in zip(samples.names_of(missing), missing, strict=True))
    listed = ", ".join(names[:_FIRST_NAMES]) + (f" and {len(names) - _FIRST_NAMES} more" if len(names) > _FIRST_NAMES else "")
    message = f"{len(missing)} of {len(samples)} pictures of {data} have no prediction in {record.job_id}: {listed}"
    if wish is Wish.REQUIRED or len(missing) == len(samples):
        raise DatasetError(message, hint="Predict on all of them, or mine those that have a prediction.", assets=missing[:100])
    warnings.append(JobWarning("not_predicted", message, record.job_id))
    return record


def _nothing_predicted(choice: Choice, data: PinnedData) -> RequestError:
    wants = f"{choice.image.name} mines by what a model predicted, and"
    if choice.model is None or choice.stage is None:
        return RequestError(
            f"{wants} {data} was imported without predictions",
            hint="Name a model with --model, or a job that predicted on it with --predictions; or import images/ with inference_results/.",
        )
    stage = f"{choice.model.reference}@{choice.stage.name}"
    return RequestError(f"{wants} {stage} has not predicted on {data}", hint=f"First: sluice infer --model {stage} --data {data}")


_ONE_TYPE = "Choose data, predictions and model of one type."


def _refuse_other_labels(choice: Choice, data: PinnedData) -> None:
    """Labels of whole pictures and boxes are different questions: the labels of the data must not be of the other."""
    wanted, labelled = choice.template.object_type, ObjectType(data.version.object_type)
    if data.version.annotation_count and (labelled is ObjectType.CLASSIFICATION) != (wanted is ObjectType.CLASSIFICATION):
        raise DatasetError(f"{data} is labelled for {labelled.label}, the mining is for {wanted.label}", hint=_ONE_TYPE)


def _refuse_other_predictions(installation: Installation, choice: Choice, predictions: PredictionRecord) -> None:
    """As the labels, so the predictions. Where nothing was found anywhere, they are of either."""
    wanted = choice.template.object_type
    shapes = read_words(installation.folder(predictions.file), "shape")
    if shapes and ("image" in shapes) != (wanted is ObjectType.CLASSIFICATION):
        found = ObjectType.CLASSIFICATION if "image" in shapes else ObjectType.DETECTION
        raise DatasetError(f"{predictions.job_id} predicted for {found.label}, the mining is for {wanted.label}", hint=_ONE_TYPE)


# ----------------------------------------------------------------------------------------------------------- training data


def _that_predicted(installation: Installation, predictions: PredictionRecord | None) -> ModelRecord | None:
    """The model of which the predictions are; None for one that is gone or was never here."""
    if predictions is None or not predictions.stage_name:
        return None
    with installation.database.reading() as session:
        return models.find_model(session, predictions.model_name)


def _training(
    installation: Installation, spec: JobSpec, choice: Choice, model: ModelRecord | None, wish: Wish, warnings: list[JobWarning]
) -> tuple[PinnedData | None, tuple[float, int] | None]:
    if wish is Wish.NONE:
        return None, None
    if spec.training_data:
        with installation.database.reading() as session:
            return job_data.pin_training(session, spec.training_data, None)[0], None
    found, reason = _learnt_from(installation, model)
    if found is None and wish is Wish.REQUIRED:
        raise RequestError(f"{choice.image.name} needs training data: {reason}", hint="Name some with --training-data NAME[@V001][:split].")
    if found is None:
        warnings.append(JobWarning("no_training_data", f"{reason}: what compares with training data is left out"))
        return None, None
    return found, _set_aside(installation, model)


def _learnt_from(installation: Installation, model: ModelRecord | None) -> tuple[PinnedData | None, str]:
    """The data of the model, or why there are none."""
    if model is None:
        return None, "no model is known, and no training data are named"
    if not model.train_data:
        return None, f"nobody has said what {model.reference} was trained on"
    try:
        with installation.database.reading() as session:
            pinned = job_data.pin_training(session, model.train_data, None)[0]
    except (DatasetError, NotFoundError) as error:
        return None, f"{model.reference} was trained on {model.train_data}, which is gone ({error.message})"
    recorded = (model.origin.get("data_hashes") or {}).get("train")
    if recorded and pinned.version.content_hash != recorded:
        return None, f"{model.train_data} is no longer what {model.reference} was trained on"
    return pinned, ""


def _set_aside(installation: Installation, model: ModelRecord | None) -> tuple[float, int] | None:
    """The share of the training data, and the seed, that chose what validated the model; None where it had validation data of its own."""
    if model is None or model.val_data or not model.job_id:
        return None
    with installation.database.reading() as session:
        try:
            plan: Mapping[str, Any] = jobs.get_job(session, model.job_id).plan
        except NotFoundError:
            return None
    return (float(plan["val_fraction"]), int(model.origin.get("seed", 0))) if "val_fraction" in plan else None


def _class_names(
    installation: Installation, data: PinnedData, predictions: PredictionRecord | None, training: PinnedData | None
) -> tuple[str, ...]:
    """Without a model: the classes of the training data, those of the candidates, then what else was predicted."""
    predicted = read_words(installation.folder(predictions.file), "class_name") if predictions else []
    return tuple(dict.fromkeys([*(training.version.class_names if training else ()), *data.version.class_names, *sorted(predicted)]))


# ------------------------------------------------------------------------------------------------------- when it is staged


def given_predictions(
    installation: Installation, plan: Mapping[str, Any], samples: StoredSamples
) -> Iterator[tuple[str, Sequence[Annotation]]] | None:
    """File name and predictions of each candidate that was looked at; None for a job that is given none. Raises ``DatasetError``."""
    if not plan.get("predictions"):
        return None
    with installation.database.reading() as session:
        record = pinned_prediction(session, plan["predictions"])
    return read_predictions_of(installation.folder(record.file), samples.ids, samples.file_names)


def pinned_prediction(session: Session, job_id: str) -> PredictionRecord:
    """The predictions that a plan names. Raises ``DatasetError`` when they are gone."""
    record = find_prediction(session, job_id)
    if record is None:
        raise DatasetError(f"the predictions of {job_id} are gone", hint="Predict again, and submit a new job.", job=job_id)
    return record


def given_training(installation: Installation, plan: Mapping[str, Any], kind: Kind) -> Sequence[Sample]:
    """What the model of a mining job learnt from, as it was pinned; empty for a job that is given none."""
    if Kind.MINING not in kind.parts or not plan.get("train"):
        return ()
    with installation.database.reading() as session:
        pinned = job_data.pin(session, plan["train"])
    samples = job_data.read(installation, pinned, to_learn_from=True)
    if not plan.get("set_aside"):
        return samples
    return samples.keep(~np.asarray(job_data.choose_validation(samples.ids.to_pylist(), *plan["set_aside"])))

"""Evaluations: predictions of one or several jobs against what people labelled, on one test set, stored under an id that follows from the question."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy.orm import Session

from contracts.errors import DatasetError, NotFoundError, RequestError
from contracts.image import ObjectType
from registry import datasets, evaluations, models, predictions
from registry.dataset_classes import list_classes, names_in
from registry.datasets import VersionRecord
from registry.evaluations import EvaluationRecord
from registry.predictions import PredictionRecord
from registry.tables import now
from runner.aside import aside_folder
from runner.dataset_files import selected, write_json
from runner.evaluation_data import Predictions, TestSet
from runner.evaluation_kinds import KINDS, ModelResult, Terms
from runner.installation import Installation
from runner.job_data import PinnedData, pin
from runner.model_classes import refuse_no_common_class
from runner.run_dir import sync_to_disk
from runner.tables import read_tables
from runner.views import time_view

#: Part of every id: what is computed in another way from then on is another evaluation.
_MADE_BY = 1
#: The numbers that a list shows, those that a kind has.
_SHOWN = ("AP", "AP50", "f1", "accuracy", "macro_f1", "mIoU")


@dataclass(frozen=True)
class Question:
    """What is asked. ``kind`` '' follows from the test set; ``against`` '' is what the first prediction was made on; ``common``: only the pictures
    that every job looked at. ``by``: names of tags of pictures and of attributes of objects."""

    jobs: tuple[str, ...]
    against: str = ""
    kind: str = ""
    iou: float = 0.5
    confidence: float = 0.3
    by: tuple[str, ...] = ()
    common: bool = False
    background: bool = False

    def check(self) -> None:
        """Raises ``RequestError``."""
        if not self.jobs:
            raise RequestError("an evaluation needs one or several jobs", hint="Name inference jobs: sluice job list")
        if twice := next((job for job in self.jobs if self.jobs.count(job) > 1), ""):
            hint = "Name each job once. A name alone means its newest run: `sluice job versions NAME` lists all."
            raise RequestError(f"the job {twice} is named twice", hint=hint, job=twice)
        if not 0 < self.iou <= 1:
            raise RequestError(f"iou is {self.iou}, not above 0 and up to 1", hint="0.5 is usual.", field="iou")
        if not 0 <= self.confidence <= 1:
            raise RequestError(f"confidence is {self.confidence}, not 0 to 1", hint="0.3 is usual.", field="confidence")
        if self.kind and self.kind not in KINDS:
            raise RequestError(f"nothing is evaluated as {self.kind!r}", hint=f"Known: {', '.join(KINDS)}.", field="kind")


@dataclass(frozen=True)
class _Asked:
    """What the registry says about a question. ``names``: what the test set calls the classes that it knows by other names, too."""

    test: PinnedData
    predictions: tuple[PredictionRecord, ...]
    known_classes: tuple[tuple[str, ...] | None, ...]
    versions: tuple[VersionRecord | None, ...]
    names: Mapping[str, str]


def evaluate(installation: Installation, question: Question) -> dict[str, Any]:
    """The evaluation, made now unless there is one. Nothing is stored when anything is wrong.

    Raises ``NotFoundError`` for a job without a prediction, ``DatasetError`` for test sets that differ, cannot be evaluated, or have none of a
    model's classes.
    """
    question.check()
    with installation.database.reading() as session:
        asked = _ask(session, question)
        id_ = _id(asked, question)
        stored = evaluations.find_evaluation(session, id_)
    if stored is not None and (installation.folder(stored.folder) / "evaluation.json").exists():
        return document_of(installation, stored)
    found = [
        Predictions.read(record.job_id, installation.folder(record.file), _given(installation, version, record)).called(asked.names)
        for record, version in zip(asked.predictions, asked.versions, strict=True)
    ]
    test, coverage = _test_set(_read_test_set(installation, asked.test), found, question)
    kind = question.kind or _kind(asked.test.version.object_type, found)
    terms = Terms(question.iou, question.confidence, _check_by(test, question.by), question.background)
    results = [KINDS[kind](test, each, terms) for each in found]
    document = _document(id_, kind, question, asked, test, coverage, results)
    _store(installation, asked, document, results, known=stored is not None)
    return {**document, "folder": str(installation.home / "evaluations" / id_)}


def document_of(installation: Installation, record: EvaluationRecord) -> dict[str, Any]:
    """What ``evaluate`` answered. Raises ``DatasetError`` when its file was changed from outside."""
    folder = installation.folder(record.folder)
    try:
        document = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = "Ask the same again: it is made anew."
        raise DatasetError(f"{folder / 'evaluation.json'} cannot be read: {error}", hint=hint, path=str(folder)) from error
    return {**document, "folder": str(folder)}


# ---------------------------------------------------------------------------------------------------------------- the question


def _ask(session: Session, question: Question) -> _Asked:
    found = tuple(predictions.get_prediction(session, job) for job in question.jobs)
    first = found[0]
    split = f":{first.split}" if first.split else ""
    try:
        test = pin(session, question.against or f"{first.dataset}@{first.version}{split}")
    except NotFoundError as error:
        error.hint = error.hint or "Name what to compare with: --against NAME@VERSION"
        raise
    versions = (datasets.find_version(session, record.dataset, record.number) for record in found)
    names = names_in(test.version.class_names, list_classes(session, test.version.dataset))
    return _Asked(test, found, tuple(_classes_of(session, record, test, names) for record in found), tuple(versions), names)


def _classes_of(session: Session, record: PredictionRecord, test: PinnedData, names: Mapping[str, str]) -> tuple[str, ...] | None:
    """The classes that the model knows as the test set calls them, None where it is gone. Raises ``DatasetError`` when it knows none of the set's."""
    model = models.find_model(session, record.model_name)
    if model is None:
        return None
    refuse_no_common_class(model, test.version.class_names, str(test), names)
    return tuple(names.get(name, name) for name in model.class_names)


def _id(asked: _Asked, question: Question) -> str:
    """The same for the same predictions and labels, however they were named."""
    parts = {**asdict(question), "against": str(asked.test), "by": sorted(question.by), "made_by": _MADE_BY}
    parts["jobs"] = [record.job_id for record in asked.predictions]
    parts["labels"] = asked.test.version.content_hash
    if called := {name: now for name, now in asked.names.items() if name != now}:
        parts["called"] = called
    return "e" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _kind(object_type: int, found: Sequence[Predictions]) -> str:
    if object_type == ObjectType.CLASSIFICATION:
        return "classification"
    outlines = all("segmentation" in each.table.column_names and each.table["segmentation"].null_count < len(each.table) for each in found)
    return "instance" if object_type == ObjectType.INSTANCE_SEGMENTATION and outlines else "detection"


def _check_by(test: TestSet, names: Sequence[str]) -> dict[str, str]:
    """For each name whether it is a ``tag`` of pictures or an ``attribute`` of objects."""
    tags, attributes = (test.names_of_tags(), test.names_of_attributes()) if names else (set[str](), set[str]())
    for name in names:
        if name not in tags | attributes:
            known = ", ".join(sorted(tags | attributes)) or "none"
            raise RequestError(f"no picture or object of {test.reference} has {name!r}", hint=f"Known: {known}.", field="by")
    return {name: "tag" if name in tags else "attribute" for name in names}


# ------------------------------------------------------------------------------------------------------------ the test set


def _given(installation: Installation, version: VersionRecord | None, record: PredictionRecord) -> pa.Array | None:
    """The pictures that a job was given: those of its version and split, if they are as many as it says.

    None where that is not known: the version is gone, or the predictions came with a source that names some pictures alone.
    """
    if version is None:
        return None
    given = selected(read_tables(installation.folder(version.folder)), record.split or None).asset_ids
    return given if len(given) == record.image_count else None


def _read_test_set(installation: Installation, data: PinnedData) -> TestSet:
    tables = read_tables(installation.folder(data.version.folder))
    whole = selected(tables, data.reference.split or None)
    labelled = selected(whole, None, annotated_only=True)
    if not len(labelled):
        raise DatasetError(f"{data} has no labelled pictures", hint="Label some and import them again, or name another set with --against.")
    return TestSet(str(data), data.version.content_hash, labelled, tuple(data.version.class_names), len(whole) - len(labelled))


def _test_set(test: TestSet, found: Sequence[Predictions], question: Question) -> tuple[TestSet, dict[str, Any]]:
    """The pictures that are evaluated, the same for all, and what was left out for that."""
    looked = np.stack([each.looked_at(test.asset_ids) for each in found])
    everybody = np.asarray(looked.all(axis=0), np.bool_)
    if (looked != looked[0]).any() and everybody.any() and not question.common:
        counts = ", ".join(f"{each.job} {int(seen.sum())}" for each, seen in zip(found, looked, strict=True))
        raise DatasetError(
            f"the jobs looked at different pictures of {test.reference} ({counts} of {len(test.tables)}), so their numbers cannot be compared",
            hint=f"Say --common to evaluate only the {int(everybody.sum())} pictures that all of them looked at.",
            common=int(everybody.sum()),
        )
    if not everybody.any():
        raise DatasetError(
            f"no labelled picture of {test.reference} was looked at by {' and '.join(each.job for each in found)}",
            hint="Name labels of the same pictures with --against NAME@VERSION.",
        )
    coverage = {"labelled": len(test.tables), "unlabelled": test.unlabelled, "evaluated": int(everybody.sum())}
    coverage["not_predicted"] = len(test.tables) - coverage["evaluated"]
    return test.only(everybody), coverage


# ------------------------------------------------------------------------------------------------------------- the answer


def _document(
    id_: str, kind: str, question: Question, asked: _Asked, test: TestSet, coverage: Mapping[str, int], results: Sequence[ModelResult]
) -> dict[str, Any]:
    definitions: dict[str, str] = {}
    for result in results:
        definitions |= result.document.pop("definitions")
    shown = {name: value for name, value in asdict(question).items() if name not in ("jobs", "against", "kind")}
    return {
        "id": id_,
        "kind": kind,
        "created_at": time_view(now()),
        "settings": {**shown, "by": list(question.by)},
        "test_set": {
            "data": test.reference,
            "content_hash": test.content_hash,
            **coverage,
            "classes": len(test.class_names),
            **results[0].about_truth,
        },
        "models": [
            _model(record, known, test, result)
            for record, known, result in zip(asked.predictions, asked.known_classes, results, strict=True)
        ],
        "definitions": definitions,
        "files": sorted({name for result in results for name in result.tables} | {"report.html"}),
    }


def _model(record: PredictionRecord, known: Sequence[str] | None, test: TestSet, result: ModelResult) -> dict[str, Any]:
    unknown = None if known is None else [name for name in test.class_names if name not in known]
    return {
        "job": record.job_id,
        "model": record.model_name,
        "stage": record.stage_name,
        "classes_unknown_to_model": unknown,
        **result.about_predictions,
        **result.document,
    }


def _store(installation: Installation, asked: _Asked, document: dict[str, Any], results: Sequence[ModelResult], *, known: bool) -> None:
    from runner.evaluation_files import write_files

    folder = f"evaluations/{document['id']}"
    with aside_folder(installation.home, "evaluation") as aside:
        made = aside / "made"
        made.mkdir()
        write_files(made, document, results)
        write_json(made / "evaluation.json", document)
        sync_to_disk(made)
        with installation.database.writing() as session:
            if not known and evaluations.find_evaluation(session, document["id"]) is not None:
                return  # somebody asked the same meanwhile, and has the same answer
            _show(made, installation.home / folder)
            if not known:
                evaluations.add_evaluation(
                    session,
                    id=document["id"],
                    data=str(asked.test),
                    kind=document["kind"],
                    settings=document["settings"],
                    models=[_listed(model) for model in document["models"]],
                    folder=folder,
                )


def _listed(model: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: model["metrics"][name] for name in _SHOWN if name in model["metrics"]}
    return {"job": model["job"], "model": model["model"], "stage": model["stage"], "metrics": metrics}


def _show(made: Path, folder: Path) -> None:
    """A folder without a row, or without its document, is left from a runner that was killed here; it is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
    sync_to_disk(folder.parent)


# ------------------------------------------------------------------------------------------------------------- side by side


def compare(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The models of several evaluations in one table. Raises ``RequestError`` when their numbers do not mean the same."""
    first = documents[0]
    for other in documents[1:]:
        for what, key in (("labels", "content_hash"), ("data", "data"), ("number of pictures", "evaluated")):
            if other["test_set"][key] != first["test_set"][key]:
                _refuse_comparison(first, other, what, first["test_set"][key], other["test_set"][key])
        for what in ("iou", "confidence", "background"):
            if other["settings"][what] != first["settings"][what]:
                _refuse_comparison(first, other, what, first["settings"][what], other["settings"][what])
        if other["kind"] != first["kind"]:
            _refuse_comparison(first, other, "kind", first["kind"], other["kind"])
    compared = [{**model, "evaluation": document["id"]} for document in documents for model in document["models"]]
    kept = ("evaluation", "job", "model", "stage", "metrics", "classes")
    return {
        "kind": first["kind"],
        "settings": first["settings"],
        "test_set": first["test_set"],
        "models": [{name: model[name] for name in kept} for model in compared],
        "definitions": first["definitions"],
    }


def _refuse_comparison(first: Mapping[str, Any], other: Mapping[str, Any], what: str, one: Any, two: Any) -> None:
    jobs = " ".join(model["job"] for document in (first, other) for model in document["models"])
    raise RequestError(
        f"{first['id']} and {other['id']} cannot be compared: the {what} differ ({one} and {two})",
        hint=f"Evaluate them on one test set: sluice evaluate {jobs}",
        what=what,
    )

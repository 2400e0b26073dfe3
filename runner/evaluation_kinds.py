"""What is evaluated, by kind: detection, instance and semantic segmentation, classification. Each gives a document and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.evaluation.classification import evaluate_classification, evaluate_labels
from analysis.evaluation.detection import Detection, evaluate_detection
from analysis.evaluation.masks import to_pixels
from analysis.evaluation.objects import Objects
from analysis.evaluation.semantic import Pixels
from contracts.errors import DatasetError
from runner.evaluation_data import Columns, Labels, Predictions, TestSet, found, picture_labels, truths

#: Of a pixel in a semantic truth that does not count. Not 255: there may be more classes than that.
_NOT_COUNTED = -1


@dataclass(frozen=True)
class ModelResult:
    """``document``: numbers. ``tables``: by file name, rows of one job. ``about_truth`` and ``about_predictions``: what was left out, and why."""

    job: str
    document: dict[str, Any]
    tables: Mapping[str, pa.Table]
    about_truth: Mapping[str, Any] = field(default_factory=dict)
    about_predictions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Terms:
    """``by``: names of tags and attributes with which of both they are. Each kind reads what it needs."""

    iou: float
    confidence: float
    by: Mapping[str, str]
    background: bool

    def tags(self, test: TestSet) -> dict[str, list[str]]:
        """By name the value of every picture."""
        return {name: test.image_tags(name) for name, what in self.by.items() if what == "tag"}


Evaluate = Callable[[TestSet, Predictions, Terms], ModelResult]


# -------------------------------------------------------------------------------------------------- detection and instances


def _detection(test: TestSet, predictions: Predictions, terms: Terms) -> ModelResult:
    return _boxes(test, predictions, terms, masks=False)


def _instance(test: TestSet, predictions: Predictions, terms: Terms) -> ModelResult:
    """Masks, and the boxes beside them: their numbers as ``boxes``."""
    result = _boxes(test, predictions, terms, masks=True)
    boxes = _boxes(test, predictions, replace(terms, by={}), masks=False).document
    return ModelResult(
        result.job, {**result.document, "boxes": boxes["metrics"]}, result.tables, result.about_truth, result.about_predictions
    )


def _boxes(test: TestSet, predictions: Predictions, terms: Terms, *, masks: bool) -> ModelResult:
    truth, guess = truths(test, masks=masks), found(predictions, test, masks=masks)
    made = evaluate_detection(
        truth.objects,
        guess.objects,
        test.class_names,
        iou=terms.iou,
        confidence=terms.confidence,
        masks=masks,
        image_tags=terms.tags(test),
        attributes={name: test.attribute(name, truth.rows) for name, what in terms.by.items() if what == "attribute"},
    )
    tables = {
        "classes.parquet": _class_table(predictions.job, made.document["classes"]),
        "curves.parquet": _curve_table(predictions.job, made, test),
        "marks.parquet": _mark_table(predictions.job, made, test, truth.objects, guess.objects),
    }
    return ModelResult(predictions.job, made.document, tables, _about_truth(test, truth), _about_predictions(predictions, test, guess))


def _about_truth(test: TestSet, truth: Columns) -> dict[str, Any]:
    present = set(np.unique(truth.objects.label).tolist())
    return {
        "objects": len(truth.objects),
        "classes_without_objects": [name for number, name in enumerate(test.class_names) if number not in present],
        "other_shapes_left_out": truth.left_out,
    }


def _about_predictions(predictions: Predictions, test: TestSet, guess: Columns) -> dict[str, Any]:
    return {
        "predictions": len(guess.objects),
        **_pictures(predictions, test),
        "classes_unknown_to_test_set": dict(guess.unknown),
        "other_shapes_left_out": guess.left_out,
        "unreadable_masks": guess.unreadable,
    }


def _pictures(predictions: Predictions, test: TestSet) -> dict[str, int]:
    ids = test.asset_ids
    return {"pictures_outside_test_set": predictions.outside(ids), "pictures_without_answer": predictions.unanswered(ids)}


def _class_table(job: str, classes: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"job": job, **row} for row in classes])


def _curve_table(job: str, made: Detection, test: TestSet) -> pa.Table:
    """The precision of every class at each confidence where another object is found; ``envelope``: the largest at that recall or above."""
    curves = made.curves
    names = pa.array(test.class_names, pa.string())
    return pa.table(
        {
            "job": _same(job, len(curves.label)),
            "class": pa.DictionaryArray.from_arrays(pa.array(curves.label.astype(np.int32)), names),
            "confidence": curves.confidence,
            "recall": curves.recall,
            "precision": curves.hits.precision,
            "envelope": curves.hits.best,
        }
    )


def _mark_table(job: str, made: Detection, test: TestSet, truth: Objects, guess: Objects) -> pa.Table:
    """Every object and every prediction with its mark. ``partner``: the row, from 0 within ``side``, of what it was matched with; null for none."""
    at = made.operating
    return pa.concat_tables(
        [
            _marked(job, test, "object", truth, at.truth_marks(), at.found_by, np.full(len(truth), np.nan), at.touched_by),
            _marked(job, test, "prediction", guess, at.found_marks(), at.truth_of, at.overlap, np.zeros(len(guess), np.int64)),
        ]
    )


def _marked(
    job: str,
    test: TestSet,
    side: str,
    objects: Objects,
    marks: NDArray[np.str_],
    partner: NDArray[np.int64],
    overlap: NDArray[np.float64],
    touched_by: NDArray[np.int64],
) -> pa.Table:
    names = pa.array(test.class_names, pa.string())
    x, y, width, height = objects.box.T
    score = objects.score if len(objects.score) == len(objects) else np.full(len(objects), np.nan)
    return pa.table(
        {
            "job": _same(job, len(objects)),
            "side": _same(side, len(objects)),
            "asset_id": test.asset_ids.take(pa.array(objects.image)),
            "class": pa.DictionaryArray.from_arrays(pa.array(objects.label.astype(np.int32)), names),
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "score": pa.array(score, from_pandas=True),
            "mark": pa.array(marks.tolist(), pa.string()).dictionary_encode(),
            "partner": pa.array(partner, mask=partner < 0),
            "overlap": pa.array(overlap, from_pandas=True),
            "touched_by": touched_by,
        }
    )


def _same(word: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([word]))


# ------------------------------------------------------------------------------------------------------------ classification


def _classification(test: TestSet, predictions: Predictions, terms: Terms) -> ModelResult:
    """One label a picture where every picture has exactly one; otherwise several, and a prediction is there from the confidence on."""
    table, image = predictions.of(test)
    true = picture_labels(test.tables.annotations, np.asarray(test.tables.owners, np.int64), test.class_names)
    guess = picture_labels(table, image, test.class_names)
    if np.isnan(guess.score).any():
        raise DatasetError(f"the predictions of the job {predictions.job} have labels without a score", hint="Run the inference again.")
    count, k = len(test.tables), len(test.class_names)
    single = len(true.picture) == count and bool((true.picture == np.arange(count)).all())

    def evaluated(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        if not single:
            return _several(test, chosen, true, guess, terms.confidence)
        return _one_each(test, chosen, true.label, guess)

    document = evaluated(np.ones(count, np.bool_))
    document["by_tag"] = {
        name: {
            value: {"pictures": part["pictures"], **part["metrics"]}
            for value in sorted(set(values))
            for part in [evaluated(np.array(values) == value)]
        }
        for name, values in terms.tags(test).items()
    }
    present = set(true.label.tolist())
    truth = {"objects": len(true.label), "classes_without_objects": [test.class_names[n] for n in range(k) if n not in present]}
    about = {"predictions": len(guess.label), **_pictures(predictions, test), "classes_unknown_to_test_set": dict(guess.unknown)}
    tables = {"classes.parquet": _class_table(predictions.job, document["classes"])}
    return ModelResult(predictions.job, document, tables, truth, about)


def _one_each(test: TestSet, chosen: NDArray[np.bool_], truth: NDArray[np.int64], guess: Labels) -> dict[str, Any]:
    """Of equal scores the class that comes first is surer; classes without a score are less sure than all others."""
    order = np.lexsort((guess.label, -guess.score, guess.picture))
    picture, label = guess.picture[order], guess.label[order]
    starts = np.searchsorted(picture, np.arange(len(truth)))
    has = starts < np.searchsorted(picture, np.arange(len(truth)), side="right")
    surest = np.full(len(truth), -1, np.int64)
    surest[has] = label[starts[has]]
    places = np.full(len(truth), np.iinfo(np.int64).max)
    right = np.flatnonzero(label == truth[picture])
    places[picture[right]] = right - starts[picture[right]]
    several = len(picture) > int(has.sum())
    return evaluate_classification(truth[chosen], surest[chosen], test.class_names, places=places[chosen] if several else None)


def _several(test: TestSet, chosen: NDArray[np.bool_], true: Labels, guess: Labels, confidence: float) -> dict[str, Any]:
    flags = [np.zeros((len(chosen), len(test.class_names)), np.bool_) for _ in range(2)]
    sure = guess.score >= confidence
    flags[0][true.picture, true.label] = True
    flags[1][guess.picture[sure], guess.label[sure]] = True
    return evaluate_labels(flags[0][chosen], flags[1][chosen], test.class_names)


# -------------------------------------------------------------------------------------------------------------------- semantic


def _semantic(test: TestSet, predictions: Predictions, terms: Terms) -> ModelResult:
    """Outlines painted picture by picture: of objects that overlap the later one counts, of predictions the surer one. A crowd is not counted."""
    truth, guess = truths(test, masks=True), found(predictions, test, masks=True)
    whole = Pixels(test.class_names, background=terms.background)
    tags = terms.tags(test)
    parts: dict[str, dict[str, Pixels]] = {name: {} for name in tags}
    sure = guess.objects.take(guess.objects.score >= terms.confidence)
    sure = sure.take(np.argsort(sure.score, kind="stable"))
    rows, guesses = _rows_by_picture(truth.objects, len(test.tables)), _rows_by_picture(sure, len(test.tables))
    for picture, size in enumerate(test.sizes):
        maps = (
            _painted(truth.objects, rows[picture], size, len(test.class_names)),
            _painted(sure, guesses[picture], size, len(test.class_names)),
        )
        whole.add(*maps, ignored=_NOT_COUNTED)
        for name, values in tags.items():
            parts[name].setdefault(values[picture], Pixels(test.class_names, background=terms.background)).add(*maps, ignored=_NOT_COUNTED)
    document = whole.document()
    document["by_tag"] = {
        name: {value: {"pictures": pixels.pictures, **pixels.document()["metrics"]} for value, pixels in sorted(values.items())}
        for name, values in parts.items()
    }
    tables = {"classes.parquet": _class_table(predictions.job, document["classes"])}
    return ModelResult(predictions.job, document, tables, _about_truth(test, truth), _about_predictions(predictions, test, guess))


def _rows_by_picture(objects: Objects, count: int) -> list[NDArray[np.int64]]:
    order = np.argsort(objects.image, kind="stable")
    return np.split(order, np.searchsorted(objects.image[order], np.arange(1, count)))


def _painted(objects: Objects, rows: NDArray[np.int64], size: tuple[int, int], background: int) -> NDArray[np.int32]:
    painted = np.full(size, background, np.int32)
    for row in rows:
        painted[to_pixels(objects.mask[row])] = _NOT_COUNTED if objects.crowd[row] else objects.label[row]
    return painted


KINDS: dict[str, Evaluate] = {
    "detection": _detection,
    "instance": _instance,
    "semantic": _semantic,
    "classification": _classification,
}

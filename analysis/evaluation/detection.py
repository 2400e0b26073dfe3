"""A whole evaluation of boxes or masks: all numbers, each class, each tag and size, and the columns for tables beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.coco import MOST_DETECTIONS, SIZES, Coco, coco
from analysis.evaluation.confusion import Confusion, confuse
from analysis.evaluation.definitions import defined
from analysis.evaluation.objects import Floats, InputError, Objects
from analysis.evaluation.operating import Counts, Curves, Operating, best_f1, count, curves, operate
from analysis.evaluation.precision import mean_of
from analysis.evaluation.voc import Voc, voc


@dataclass(frozen=True)
class Detection:
    """``document`` is JSON; the rest are the arrays behind it. ``masks``: overlaps are those of masks, else of boxes."""

    document: dict[str, Any]
    coco: Coco
    voc: Voc
    operating: Operating
    curves: Curves
    confusion: Confusion


def evaluate_detection(
    truth: Objects,
    found: Objects,
    class_names: Sequence[str],
    *,
    iou: float = 0.5,
    confidence: float = 0.3,
    masks: bool = False,
    image_tags: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> Detection:
    """All numbers of detection, or of instance segmentation with ``masks``.

    ``image_tags``: by name the value of every picture, '' for none; each value is evaluated on its pictures alone. ``attributes``: by name the value of
    every true object, '' for none; a prediction has none, so of these only what was found and missed is told. Raises ``InputError``.
    """
    _check(truth, found, class_names, iou, confidence, masks)
    k = len(class_names)
    numbers, at = coco(truth, found, k, masks=masks), operate(truth, found, k, iou, confidence, masks=masks)
    pascal, curve = voc(truth, found, k, iou, masks=masks), curves(truth, found, at, k)
    confusion = confuse(truth, found, at, k, iou, masks=masks)
    counts = count(truth, found, at, k)
    metrics = _metrics(numbers, pascal, counts)
    document: dict[str, Any] = {
        "kind": "instance segmentation" if masks else "detection",
        "overlap_of": "masks" if masks else "boxes",
        "iou": iou,
        "confidence": confidence,
        "metrics": metrics,
        "predictions_beyond_coco_limit": _beyond_limit(found, k),
        "classes": _classes(class_names, truth, found, numbers, pascal, counts, best_f1(truth, found, at, k)),
        "confusion": _confusion(confusion, class_names),
        "by_size": _by_size(truth, at, numbers),
        "by_tag": _by_tag(truth, found, k, iou, confidence, masks, image_tags or {}),
        "by_attribute": {name: _found_by_value(truth, at, np.asarray(values)) for name, values in (attributes or {}).items()},
    }
    document["definitions"] = defined([*metrics, "best_f1", "best_f1_confidence", "marks", "confusion"])
    return Detection(document, numbers, pascal, at, curve, confusion)


def _check(truth: Objects, found: Objects, class_names: Sequence[str], iou: float, confidence: float, masks: bool) -> None:
    if not 0 < iou <= 1:
        raise InputError(f"iou: {iou} is not above 0 and up to 1")
    if not math.isfinite(confidence):
        raise InputError(f"confidence: {confidence} is not a number")
    for objects in (truth, found):
        if len(objects) and int(objects.label.max()) >= len(class_names):
            raise InputError(f"label: {int(objects.label.max())}, but there are {len(class_names)} classes", int(objects.label.argmax()))
        if masks and len(objects.mask) != len(objects):
            raise InputError("mask: missing")
    if len(found) != len(found.score):
        raise InputError("score: missing")


# --------------------------------------------------------------------------------------------------------------- the numbers


def _metrics(numbers: Coco, pascal: Voc, counts: Counts) -> dict[str, Any]:
    total = counts.total()
    return {
        **numbers.summary(),
        "AP_voc2007": mean_of(pascal.ap_2007),
        "AP_voc2010": mean_of(pascal.ap_2010),
        "tp": int(total.tp[0]),
        "fp": int(total.fp[0]),
        "fn": int(total.fn[0]),
        **{name: number(column[0]) for name, column in _rates(total).items()},
    }


def _rates(counts: Counts) -> dict[str, Floats]:
    return {"precision": counts.precision(), "recall": counts.recall(), "f1": counts.f1()}


def number(value: float) -> float | None:
    """NaN and COCO's -1 as None: JSON knows neither."""
    return None if math.isnan(value) or value == -1 else float(value)


def _classes(
    names: Sequence[str], truth: Objects, found: Objects, numbers: Coco, pascal: Voc, counts: Counts, best: tuple[Floats, Floats]
) -> list[dict[str, Any]]:
    whole = {
        "objects": np.bincount(truth.label, minlength=len(names)),
        "predictions": np.bincount(found.label, minlength=len(names)),
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
    }
    shares = {**numbers.by_class(), "AP_voc2007": pascal.ap_2007, "AP_voc2010": pascal.ap_2010}
    shares |= {**_rates(counts), "best_f1": best[0], "best_f1_confidence": best[1]}
    columns = {name: column.tolist() for name, column in whole.items()}
    columns |= {name: [number(value) for value in column] for name, column in shares.items()}
    return [{"class": name, **{column: values[row] for column, values in columns.items()}} for row, name in enumerate(names)]


def _confusion(confusion: Confusion, names: Sequence[str]) -> list[dict[str, Any]]:
    """Cells that are not 0; None is the background."""
    words = [*names, None]
    cells = zip(confusion.truth.tolist(), confusion.predicted.tolist(), confusion.count.tolist(), strict=True)
    return [{"true": words[row], "predicted": words[column], "count": times} for row, column, times in cells]


# ------------------------------------------------------------------------------------------------------------- in parts


def _by_size(truth: Objects, at: Operating, numbers: Coco) -> dict[str, Any]:
    summary = numbers.summary()
    parts = {}
    for name, (least, most) in SIZES.items():
        if name != "all":
            inside = (truth.area >= least) & (truth.area <= most)
            parts[name] = {"AP": summary[f"AP_{name}"], "AR": summary[f"AR_{name}"], **_found(at, inside)}
    return parts


def _found_by_value(truth: Objects, at: Operating, values: NDArray[Any]) -> dict[str, Any]:
    if len(values) != len(truth):
        raise InputError(f"an attribute has {len(values)} values for {len(truth)} objects")
    return {str(value): _found(at, values == value) for value in np.unique(values)}


def _found(at: Operating, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    counted = chosen & ~at.ignored
    tp, whole = int((at.found_by[counted] >= 0).sum()), int(counted.sum())
    return {"objects": whole, "tp": tp, "fn": whole - tp, "recall": tp / whole if whole else None}


def _by_tag(
    truth: Objects, found: Objects, k: int, iou: float, confidence: float, masks: bool, tags: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    return {
        name: {
            str(value): _of_images(truth, found, np.asarray(values) == value, k, iou, confidence, masks)
            for value in np.unique(np.asarray(values))
        }
        for name, values in tags.items()
    }


def _of_images(
    truth: Objects, found: Objects, chosen: NDArray[np.bool_], k: int, iou: float, confidence: float, masks: bool
) -> dict[str, Any]:
    """The numbers of some pictures alone. ``chosen``: by image number."""
    inside = np.r_[chosen, False]
    part, guess = (objects.take(inside[np.minimum(objects.image, len(chosen))]) for objects in (truth, found))
    counts = count(part, guess, operate(part, guess, k, iou, confidence, masks=masks), k)
    return {"images": int(chosen.sum()), **_metrics(coco(part, guess, k, masks=masks), voc(part, guess, k, iou, masks=masks), counts)}


def _beyond_limit(found: Objects, class_count: int) -> int:
    """Predictions that COCO's numbers leave out: of a class in one picture all beyond the 100 surest."""
    counts = np.unique(found.group(class_count), return_counts=True)[1]
    return int(np.maximum(counts - MOST_DETECTIONS[-1], 0).sum())

"""What a model predicted, as a mining image reads it: a file of ModelArts' JSON for each picture (docs/2-contract.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contracts.dataset import Annotation
from contracts.ymir.annotations import readable_folder, write_readable
from contracts.ymir.layout import PREDICTION_ENDING
from contracts.ymir.tolerances import Tolerances

_PLACE = "predictions"


def write_predictions(predictions: Iterable[tuple[str, Sequence[Annotation]]], folder: Path, tolerances: Tolerances) -> None:
    """``<file name>_result.txt`` for each pair of a picture's file name and what was found in it."""
    readable_folder(folder)
    for name, found in predictions:
        with (folder / f"{name}{PREDICTION_ENDING}").open("w", encoding="utf-8", newline="\n") as file:
            write_readable(file, prediction_text(found, tolerances))


def prediction_text(found: Sequence[Annotation], tolerances: Tolerances) -> str:
    """One document: of labels when nothing but labels of the whole picture was found, else of boxes as ``[y_min, x_min, y_max, x_max]``."""
    labels = [one for one in found if one.shape == "image"]
    if labels and len(labels) == len(found):
        return json.dumps(_classification(labels), ensure_ascii=False) + "\n"
    if labels:
        tolerances.add("prediction_label_beside_boxes", "labels of whole pictures beside boxes are not given to the image", _PLACE)
    return json.dumps(_detection([one for one in found if one.shape != "image"], tolerances), ensure_ascii=False) + "\n"


def _classification(labels: Sequence[Annotation]) -> dict[str, Any]:
    """Confidences are texts in this form; the surest comes first, unless the model itself said which label it means."""
    ordered = sorted(labels, key=lambda label: (label.attributes.get("predicted") is not True, -_score(label), label.class_name))
    scores = sorted(labels, key=lambda label: (-_score(label), label.class_name))
    return {"predicted_label": ordered[0].class_name, "scores": [[label.class_name, repr(_score(label))] for label in scores]}


def _detection(found: Sequence[Annotation], tolerances: Tolerances) -> dict[str, Any]:
    boxes = [box for box in found if all(map(math.isfinite, (box.x, box.y, box.width, box.height)))]
    if any(box.segmentation or box.shape != "box" for box in boxes):
        tolerances.add("prediction_outline", "predicted outlines are given to the image as their boxes", _PLACE)
    return {
        "detection_classes": [box.class_name for box in boxes],
        "detection_boxes": [[box.y, box.x, box.y + box.height, box.x + box.width] for box in boxes],
        "detection_scores": [_score(box) for box in boxes],
    }


def _score(one: Annotation) -> float:
    return 1.0 if one.score is None or not math.isfinite(one.score) else one.score

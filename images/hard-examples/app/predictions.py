"""What a model predicted, read from ModelArts' JSON: ``<picture file name>_result.txt``, boxes or labels (modelarts-spec 3).

Whoever wrote them is not trusted: what cannot be read is named and left out, and a picture without a readable file counts as not predicted.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mining.boxes import Boxes

ENDING = "_result.txt"
MAX_BYTES = 16 * 1024**2
MAX_BOXES = 20_000
_LISTS = ("detection_classes", "detection_boxes", "detection_scores")


@dataclass
class Reading:
    """What was found while files were read: files that are ``missing`` or ``broken`` (name -> why), and how often what was mended or left out.

    ``class_names`` grows by classes that the job did not name.
    """

    class_names: list[str]
    missing: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.notes[what] = self.notes.get(what, 0) + 1

    def class_index(self, name: Any) -> int | None:
        if not isinstance(name, str) or not name.strip():
            self.note("predictions without a class were left out")
            return None
        name = name.strip().lower()
        if name not in self.class_names:
            self.note(f"the class {name[:60]!r} is not one of the job's; it was added")
            self.class_names.append(name)
        return self.class_names.index(name)


class UnreadableError(Exception):
    """A file of predictions cannot be read; the message says why."""


def read_boxes(folder: Path, names: Sequence[str], reading: Reading) -> list[Boxes | None]:
    """The boxes of each picture by its file name; None where there is no readable file."""
    return [None if document is None else _boxes(document, reading) for document in _documents(folder, names, _check_detection, reading)]


def read_labels(folder: Path, names: Sequence[str], reading: Reading) -> np.ndarray:
    """(n, C) confidences by class, a row of zeros where there is no readable file. C is known when all are read: classes may be added."""
    rows = [
        {} if document is None else _labels(document, reading) for document in _documents(folder, names, _check_classification, reading)
    ]
    table = np.zeros((len(rows), len(reading.class_names)))
    for place, row in enumerate(rows):
        table[place, list(row)] = list(row.values())
    return table


def _documents(folder: Path, names: Sequence[str], check: Any, reading: Reading) -> Iterable[Mapping[str, Any] | None]:
    for name in names:
        try:
            document = _read(folder / f"{name}{ENDING}")
            check(document)
            yield document
        except FileNotFoundError:
            reading.missing.append(name)
            yield None
        except UnreadableError as error:
            reading.broken[name] = str(error)
            yield None


def _read(path: Path) -> Mapping[str, Any]:
    """SECURITY: a pipe would wait for ever and a link may lead anywhere: only regular files are read, up to a size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"it cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError("it is not a file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"it is larger than {MAX_BYTES // 1024**2} MiB")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON: {str(error)[:120]}") from error
    if not isinstance(document, dict):
        raise UnreadableError("it is no JSON object")
    return document


# --------------------------------------------------------------------------------------------------------------- detection


def _check_detection(document: Mapping[str, Any]) -> None:
    lists = [document.get(key) for key in _LISTS]
    for key, values in zip(_LISTS, lists, strict=True):
        if not isinstance(values, list):
            raise UnreadableError(f"{key} is not a list")
    lengths = {len(values) for values in lists if values is not None}
    if len(lengths) > 1:
        raise UnreadableError(f"{', '.join(_LISTS)} are not equally long")
    if max(lengths) > MAX_BOXES:
        raise UnreadableError(f"it has more than {MAX_BOXES} boxes")


def _boxes(document: Mapping[str, Any], reading: Reading) -> Boxes:
    rows = [row for values in zip(*(document[key] for key in _LISTS), strict=True) if (row := _box(*values, reading))]
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def _box(name: Any, box: Any, score: Any, reading: Reading) -> tuple[float, ...] | None:
    """x1, y1, x2, y2, score and class of ``[y_min, x_min, y_max, x_max]``; None for what is no box. Parts left of or above the picture are cut."""
    numbers = [_number(value) for value in box] if isinstance(box, list) and len(box) == 4 else []
    confidence, index = _number(score), reading.class_index(name)
    if index is None:
        return None
    if len(numbers) != 4 or None in numbers or confidence is None:
        reading.note("boxes that are not four numbers with a score were left out")
        return None
    y1, x1, y2, x2 = (max(0.0, number or 0.0) for number in numbers)
    if x2 <= x1 or y2 <= y1:
        reading.note("boxes without an area were left out")
        return None
    return x1, y1, x2, y2, _unit(confidence, reading), float(index)


def _number(value: Any) -> float | None:
    """A finite number, also written as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e9 else None


def _unit(score: float, reading: Reading) -> float:
    if not 0 <= score <= 1:
        reading.note("scores outside [0, 1] were clamped")
    return min(1.0, max(0.0, score))


def clip(boxes: Boxes, width: int, height: int, reading: Reading) -> Boxes:
    """The boxes cut at the picture's right and lower edges; those that lie beyond are left out. A width of 0 says that the size is unknown."""
    if not width or not len(boxes):
        return boxes
    corners = boxes.corners.copy()
    if _would_fit_swapped(corners, width, height):
        reading.note("boxes reach far beyond their picture and would fit with x and y exchanged: they must be y_min, x_min, y_max, x_max")
    corners[:, 2] = corners[:, 2].clip(max=width)
    corners[:, 3] = corners[:, 3].clip(max=height)
    kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    if not kept.all():
        reading.note("boxes outside of their picture were left out")
    return Boxes(corners[kept], boxes.scores[kept], boxes.classes[kept])


def _would_fit_swapped(corners: np.ndarray, width: int, height: int) -> bool:
    def beyond(xs: np.ndarray, ys: np.ndarray) -> bool:
        return bool((xs > 1.05 * width).any() or (ys > 1.05 * height).any())

    return beyond(corners[:, 2], corners[:, 3]) and not beyond(corners[:, 3], corners[:, 2])


# ---------------------------------------------------------------------------------------------------------- classification


def _check_classification(document: Mapping[str, Any]) -> None:
    scores, label = document.get("scores"), document.get("predicted_label", document.get("predict_label"))
    if not isinstance(scores, list) or (not scores and not isinstance(label, str)):
        raise UnreadableError("it has neither scores nor a predicted_label")
    if len(scores) > MAX_BOXES:
        raise UnreadableError(f"it has more than {MAX_BOXES} scores")


def _labels(document: Mapping[str, Any], reading: Reading) -> dict[int, float]:
    """Class -> confidence. What is missing of 1 belongs to classes that were not named; more than 1 is scaled down."""
    found: dict[int, float] = {}
    for pair in document["scores"]:
        score = _number(pair[1]) if isinstance(pair, list) and len(pair) == 2 else None
        if score is None:
            reading.note("scores that are not pairs of a label and a number were left out")
        elif (index := reading.class_index(pair[0])) is not None:
            found[index] = max(found.get(index, 0.0), _unit(score, reading))
    if not found and (index := reading.class_index(document.get("predicted_label", document.get("predict_label")))) is not None:
        found[index] = 1.0
    total = sum(found.values())
    return {index: score / total for index, score in found.items()} if total > 1.0 else found

"""Boxes as columns: what a person drew and what a model found, in pictures and classes that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class InputError(ValueError):
    """An array that cannot be evaluated. ``row`` is the first row that is wrong, None where it is the array as a whole."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Objects:
    """Boxes of ``n`` objects, one row each.

    ``image``, ``label``: (n,) numbers from 0. ``box``: (n, 4) float, x y width height in pixels, x + width is the first column outside.
    ``score``: (n,) of predictions, higher is surer; empty for what a person drew. ``crowd``, ``difficult``: (n,), see the definitions.
    ``area``: (n,) in pixels, what a size is measured by. ``mask``: COCO run-length dicts ``{"size": [h, w], "counts": bytes}``, one a row, or none.
    """

    image: Ints
    label: Ints
    box: Floats
    score: Floats
    crowd: Flags
    difficult: Flags
    area: Floats
    mask: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: NDArray[Any]) -> Objects:
        """Those of the rows: numbers, or (n,) of whether."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        mask = [self.mask[row] for row in numbers.tolist()] if len(self.mask) else ()
        score = self.score[numbers] if len(self.score) else self.score
        return Objects(
            self.image[numbers],
            self.label[numbers],
            self.box[numbers],
            score,
            self.crowd[numbers],
            self.difficult[numbers],
            self.area[numbers],
            mask,
        )

    def group(self, class_count: int) -> Ints:
        """(n,) a number for each picture and class together."""
        return self.image * class_count + self.label


def make_truths(
    image: Any, label: Any, box: Any, *, crowd: Any = None, difficult: Any = None, area: Any = None, mask: Sequence[Any] = ()
) -> Objects:
    """What a person drew. ``area`` is that of the boxes unless it is given. Raises ``InputError``, as ``make_predictions`` does."""
    return _make(image, label, box, None, crowd, difficult, area, mask)


def make_predictions(image: Any, label: Any, box: Any, score: Any, *, area: Any = None, mask: Sequence[Any] = ()) -> Objects:
    """What a model found. Scores may have any range: only their order counts, and how they compare with a threshold.

    Raises ``InputError`` for columns of different lengths, values that are no numbers, negative widths and numbers below 0.
    Boxes outside their picture or without area are taken as they are: they match nothing, so they count as wrong.
    """
    return _make(image, label, box, score, None, None, area, mask)


def _make(image: Any, label: Any, box: Any, score: Any, crowd: Any, difficult: Any, area: Any, mask: Sequence[Any]) -> Objects:
    images, labels = _numbers("image", image), _numbers("label", label)
    count = len(images)
    boxes = np.ascontiguousarray(box, dtype=np.float64).reshape(-1, 4) if np.size(box) else np.empty((0, 4))
    scores = np.empty(0) if score is None else np.ascontiguousarray(score, dtype=np.float64)
    areas = boxes[:, 2] * boxes[:, 3] if area is None else np.ascontiguousarray(area, dtype=np.float64)
    flags = [np.zeros(count, np.bool_) if flag is None else np.ascontiguousarray(flag, dtype=np.bool_) for flag in (crowd, difficult)]
    lengths = {"label": labels, "box": boxes, "area": areas, "crowd": flags[0], "difficult": flags[1]}
    lengths |= {"score": scores} if score is not None else {}
    for name, column in {**lengths, **({"mask": mask} if len(mask) else {})}.items():
        if len(column) != count:
            raise InputError(f"{count} images, but {len(column)} values of {name}")
    for name, column in {"box": boxes, "score": scores, "area": areas}.items():
        _check_finite(name, column)
    _refuse("box: a negative width or height", (boxes[:, 2] < 0) | (boxes[:, 3] < 0))
    return Objects(images, labels, boxes, scores, flags[0], flags[1], areas, mask)


def _numbers(name: str, column: Any) -> Ints:
    values = np.asarray(column)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"{name}: {values.dtype} are no whole numbers")
    numbers = np.ascontiguousarray(values, dtype=np.int64).reshape(-1)
    _refuse(f"{name}: a number below 0", numbers < 0)
    return numbers


def _check_finite(name: str, column: Floats) -> None:
    finite = np.isfinite(column if column.ndim == 2 else column[:, None])
    _refuse(f"{name}: not a number", np.asarray(~finite.all(axis=1), np.bool_))


def _refuse(what: str, wrong: Flags) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{what}, in row {row} and {int(wrong.sum()) - 1} more", row)


def order_of(*keys: NDArray[Any]) -> Ints:
    """Stable order by the first key, then the second, and so on."""
    return np.lexsort(keys[::-1]).astype(np.int64)


def ranks_in(groups: NDArray[Any]) -> Ints:
    """0, 1, 2, ... within each run of equal values of sorted ``groups``."""
    count = len(groups)
    begins = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if count else np.empty(0, np.int64)
    return np.arange(count) - np.repeat(begins, np.diff(np.r_[begins, count]))

"""Predicted boxes of one picture, and how two sets of boxes are compared."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def _no_boxes() -> Floats:
    return np.zeros((0, 4))


def _no_scores() -> Floats:
    return np.zeros(0)


def _no_classes() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Boxes:
    """What a detector found in one picture; n rows in each array, in the same order.

    ``corners`` (n, 4) float: x1, y1, x2, y2 in pixels of the picture as stored, origin top left, x2 and y2 outside. ``scores`` (n,) in [0, 1].
    ``classes`` (n,) positions in the pool's ``class_names``. Where the model gives them: ``probabilities`` (n, C), a distribution over the
    classes (rows sum to 1), and ``features`` (n, d), a vector per box.
    """

    corners: Floats = field(default_factory=_no_boxes)
    scores: Floats = field(default_factory=_no_scores)
    classes: Ints = field(default_factory=_no_classes)
    probabilities: Floats | None = None
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def keep(self, mask: npt.NDArray[np.bool_] | Ints) -> Boxes:
        """The rows that a mask or row numbers choose."""
        chosen = (None if part is None else part[mask] for part in (self.probabilities, self.features))
        return Boxes(self.corners[mask], self.scores[mask], self.classes[mask], *chosen)

    def at_least(self, score: float) -> Boxes:
        """The boxes with a score of at least ``score``."""
        return self.keep(self.scores >= score)


def iou(left: Floats, right: Floats) -> Floats:
    """(n, m) intersection over union of corners (n, 4) and (m, 4); 0 where both boxes have no area."""
    top_left = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared: Floats = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = _areas(left)[:, None] + _areas(right)[None, :] - shared
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def match(left: Boxes, right: Boxes, least_iou: float = 0.5) -> list[tuple[int, int]]:
    """Pairs of rows of the same class, each row at most once, the highest IoU first; none below ``least_iou``. O(n m log n m)."""
    overlaps = np.where(left.classes[:, None] == right.classes[None, :], iou(left.corners, right.corners), -1.0)
    pairs: list[tuple[int, int]] = []
    free_left, free_right = np.ones(len(left), bool), np.ones(len(right), bool)
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        row, column = divmod(int(flat), max(1, len(right)))
        if overlaps[row, column] < least_iou:
            break
        if free_left[row] and free_right[column]:
            pairs.append((row, column))
            free_left[row] = free_right[column] = False
    return pairs


def disagreement(left: Boxes, right: Boxes, least_iou: float = 0.5) -> float:
    """1 - F1 of the class-aware matching, in [0, 1]; 0 when both are empty."""
    if not len(left) + len(right):
        return 0.0
    return 1.0 - 2.0 * len(match(left, right, least_iou)) / (len(left) + len(right))


def _areas(corners: Floats) -> Floats:
    areas: Floats = np.prod(np.clip(corners[:, 2:] - corners[:, :2], 0, None), axis=1)
    return areas

"""How wrong the model probably is on a picture: which of its boxes are right and what it missed, learnt from labelled pictures it was not trained on.

The sum of the seven strengths ranks; this estimates the error itself. A logistic model says of each box how likely it is right, from its score, its class
(a score of .5 means something else for each class) and whether the changed pictures show it too. The likely right among the boxes that count are hits,
the likely right below the threshold are misses, and 1 - F1 follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mining.boxes import Boxes, Floats, iou, match

_LEAST, _MOST = 1e-4, 1 - 1e-4
_ROUNDS = 30
Views = Mapping[str, Sequence[Boxes]]


@dataclass(frozen=True)
class Expectation:
    """``weights`` of the columns of ``box_table``, ``views`` in their order; ``slope`` and ``intercept`` make the expected error the probability of being
    among the worst fifth. ``low``: boxes count from this score on."""

    weights: Floats
    views: tuple[str, ...]
    class_count: int
    low: float
    slope: float
    intercept: float

    def errors(self, predictions: Sequence[Boxes], views: Views) -> Floats:
        """(n,) expected 1 - F1 of each picture; 1 for one without any box."""
        return np.array([self._of_picture(row, boxes, views) for row, boxes in enumerate(predictions)], np.float64)

    def coefficients(self, predictions: Sequence[Boxes], views: Views) -> Floats:
        """(n,) the probability that a picture is among the worst fifth."""
        return _sigmoid(self.slope * self.errors(predictions, views) + self.intercept)

    def _of_picture(self, row: int, boxes: Boxes, views: Views) -> float:
        right = _sigmoid(box_table(boxes, [views[name][row] for name in self.views], self.class_count) @ self.weights)
        counted = boxes.scores >= self.low
        return 1.0 - 2.0 * float(right[counted].sum()) / max(float(counted.sum() + right.sum()), 1e-9) if len(boxes) else 1.0


def fit_expectation(
    predictions: Sequence[Boxes], labelled: Sequence[Boxes], views: Views, class_count: int, *, low: float = 0.3, penalty: float = 1.0
) -> Expectation:
    """Learns from labelled pictures (n >= 20) that the model was not trained on; ``predictions`` with all boxes, also far below ``low``.

    ``penalty``: of the squared weights. Raises ``ValueError`` for fewer pictures, or where all boxes are right, or none.
    """
    from mining.hard_examples.weights import LEAST_PICTURES, picture_errors, worst_fifth

    names = tuple(sorted(views))
    tables = [box_table(boxes, [views[name][row] for name in names], class_count) for row, boxes in enumerate(predictions)]
    right = [_right(boxes, truth) for boxes, truth in zip(predictions, labelled, strict=True)]
    if len(tables) < LEAST_PICTURES or len(set(np.concatenate(right).tolist())) < 2:
        raise ValueError(f"{len(tables)} labelled pictures: {LEAST_PICTURES} are needed, with boxes that are right and boxes that are not")
    weights = _logistic(np.concatenate(tables), np.concatenate(right), penalty)
    plain = Expectation(weights, names, class_count, low, 1.0, 0.0)
    expected = plain.errors(predictions, views)
    hard = worst_fifth(picture_errors(predictions, labelled, low)).astype(np.float64)
    intercept, slope = _logistic(np.column_stack([np.ones(len(expected)), expected]), hard, 1e-3)
    return Expectation(weights, names, class_count, low, float(slope), float(intercept))


def box_table(boxes: Boxes, views: Sequence[Boxes], class_count: int) -> Floats:
    """(m, 2 C + V + 2): a constant for each class, its logit score for each class, the best score x overlap in each view, the greatest overlap with
    another box, and how many boxes of the picture count."""
    scores = boxes.scores.clip(_LEAST, _MOST)
    of_class = (boxes.classes[:, None] == np.arange(class_count)[None, :]).astype(np.float64)
    logits = np.log(scores / (1 - scores))[:, None] * of_class
    seen = [_support(boxes, view) for view in views]
    near = iou(boxes.corners, boxes.corners)
    np.fill_diagonal(near, 0.0)
    crowd = near.max(axis=1, initial=0.0)
    return np.column_stack([of_class, logits, *seen, crowd, np.full(len(boxes), (boxes.scores >= 0.3).sum() / 20.0)])


def _support(boxes: Boxes, view: Boxes) -> Floats:
    same = boxes.classes[:, None] == view.classes[None, :]
    best: Floats = np.where(same, iou(boxes.corners, view.corners) * view.scores[None, :], 0.0).max(axis=1, initial=0.0)
    return best


def _right(boxes: Boxes, truth: Boxes) -> Floats:
    right = np.zeros(len(boxes))
    right[[row for row, _ in match(boxes, truth)]] = 1.0
    return right


def _logistic(table: Floats, target: Floats, penalty: float) -> Floats:
    """Weights that minimise the summed logistic loss + penalty / 2 |w|^2, by Newton's method."""
    weights = np.zeros(table.shape[1])
    for _ in range(_ROUNDS):
        p = _sigmoid(table @ weights)
        gradient = table.T @ (p - target) + penalty * weights
        curvature = (table * (p * (1 - p))[:, None]).T @ table + penalty * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-values.clip(-700, 700)))
    return result

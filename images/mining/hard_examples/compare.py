"""How much two predictions for the same thing differ."""

from __future__ import annotations

import numpy as np

from mining.boxes import Boxes, Floats, disagreement


def complete(probabilities: Floats) -> Floats:
    """(n, C + 1) distributions: what a list of the five best leaves out goes into a last "other" class; rows above 1 are scaled down.

    A row without any probability is NaN: nothing was predicted.
    """
    known = np.nan_to_num(np.asarray(probabilities, np.float64)).clip(min=0)
    sums = known.sum(axis=1, keepdims=True)
    known = known / np.maximum(sums, 1.0)
    completed = np.hstack([known, (1.0 - known.sum(axis=1, keepdims=True)).clip(min=0)])
    return np.where(sums > 0, completed, np.nan)


def jensen_shannon(left: Floats, right: Floats) -> Floats:
    """(n,) Jensen-Shannon divergence of the rows in bits, in [0, 1]; NaN where a row is NaN."""
    middle = (left + right) / 2
    divergence: Floats = (_kullback_leibler(left, middle) + _kullback_leibler(right, middle)) / 2
    return divergence.clip(0, 1)


def _kullback_leibler(left: Floats, right: Floats) -> Floats:
    ratio = np.divide(left, right, out=np.ones_like(left), where=left > 0)
    divergence: Floats = (left * np.log2(ratio)).sum(axis=1)
    return divergence


def class_disagreement(left: Floats, right: Floats) -> Floats:
    """(n,) of completed probabilities: 1 where the likeliest classes differ, else the Jensen-Shannon divergence; NaN where one was not predicted."""
    differ = np.argmax(left[:, :-1], axis=1) != np.argmax(right[:, :-1], axis=1)
    unknown = np.isnan(left).any(axis=1) | np.isnan(right).any(axis=1)
    return np.where(unknown, np.nan, np.where(differ, 1.0, jensen_shannon(left, right)))


def box_disagreement(left: Boxes | None, right: Boxes | None, low: float, least_iou: float = 0.5) -> float:
    """1 - F1 of the boxes from the score ``low`` on; NaN where one was not predicted."""
    if left is None or right is None:
        return float("nan")
    return disagreement(left.at_least(low), right.at_least(low), least_iou)

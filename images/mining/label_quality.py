"""Which labelled pictures have a wrong label: an object without its label, a label without its object, of the wrong class, or beside its object.

Wants predictions of a model that has not seen the pictures (cross-validation): one that learnt the wrong labels repeats them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mining.boxes import Boxes, Floats, iou

#: Overlap below which a prediction is about an object that has no label at all.
_ANOTHER_OBJECT = 0.3
#: How much a picture that stands out by one kind of evidence counts beside one that is a little suspect by all: infinity takes the worst alone.
_POWER = 8.0


def label_doubt(predictions: Sequence[Boxes], labels: Sequence[Boxes]) -> Floats:
    """(n,) in [0, 1]: how suspect the labels of a picture are beside those of the others; higher is worse.

    Each of four kinds of evidence becomes the share of the pictures that have no more of it, because their scales do not compare: in a dense scene the
    model always misses something. The power mean (8) of the four is the picture's. O(boxes^2) each picture, O(n log n) for the shares.
    """
    evidence = np.array([evidence_of(found, truth) for found, truth in zip(predictions, labels, strict=True)]).reshape(-1, 4)
    shares = np.column_stack([_shares(column) for column in evidence.T]) if len(evidence) else evidence
    doubts: Floats = (shares**_POWER).mean(axis=1) ** (1 / _POWER)
    return doubts


def evidence_of(found: Boxes, truth: Boxes) -> tuple[float, float, float, float]:
    """Of one picture, the worst box of each kind, in [0, 1], 0 for none.

    Another class: how much more (score x overlap) speaks for a class than for that of the label. No object: 1 - the best score x overlap of its
    class. Beside its object: 1 - the best overlap of its class. No label: the score of a prediction that no label overlaps by 0.3, x (1 - overlap).
    """
    overlaps = iou(found.corners, truth.corners)
    same = found.classes[:, None] == truth.classes[None, :]
    support = found.scores[:, None] * overlaps
    own = np.where(same, support, 0.0).max(axis=0, initial=0.0)
    other = np.where(same, 0.0, support).max(axis=0, initial=0.0)
    placed = np.where(same, overlaps, 0.0).max(axis=0, initial=0.0)
    near = overlaps.max(axis=1, initial=0.0)
    unlabelled = np.where(near < _ANOTHER_OBJECT, found.scores * (1.0 - near), 0.0)
    return _worst(other - own), _worst(1.0 - own), _worst(1.0 - placed), _worst(unlabelled)


def _worst(values: Floats) -> float:
    return float(values.max(initial=0.0))


def _shares(values: Floats) -> Floats:
    """(n,) the share of the values that are smaller, ties counting half."""
    ordered = np.sort(values)
    shares: Floats = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(values))
    return shares

"""Which labelled pictures have a wrong label: an object without its label, a label without its object, of the wrong class, or beside its object.

Wants predictions of a model that has not seen the pictures (cross-validation): one that learnt the wrong labels repeats them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mining.boxes import Boxes, Floats, iou

#: Overlap from which a prediction is about the same object as a label, whatever its class.
_SAME_OBJECT = 0.3


def label_doubt(predictions: Sequence[Boxes], labels: Sequence[Boxes]) -> Floats:
    """(n,) in [0, 1]: how sure the model is that a picture has a wrong label; higher is worse, 0 for a picture without boxes on either side.

    Of a label: 1 - the best score x overlap among predictions of its class, and where another class is predicted in its place, not less than that
    score x overlap. Of a prediction: its score x (1 - the best overlap with a label). The worst of them is the picture's. O(boxes^2) each picture.
    """
    return np.array([_of_picture(found, truth) for found, truth in zip(predictions, labels, strict=True)], np.float64)


def _of_picture(found: Boxes, truth: Boxes) -> float:
    overlaps = iou(found.corners, truth.corners)
    same = found.classes[:, None] == truth.classes[None, :]
    support = found.scores[:, None] * overlaps
    unlike = np.where(same, 0.0, support).max(axis=0, initial=0.0)
    unsupported = 1.0 - np.where(same, support, 0.0).max(axis=0, initial=0.0)
    near = overlaps.max(axis=1, initial=0.0)
    unlabelled = np.where(near < _SAME_OBJECT, found.scores * (1.0 - near), 0.0)
    return float(max(np.maximum(unlike, unsupported).max(initial=0.0), unlabelled.max(initial=0.0)))

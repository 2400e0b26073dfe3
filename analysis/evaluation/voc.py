"""Pascal VOC's average precision (VOCdevkit's VOCevaldet): another way to match than COCO's, at one overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.evaluation.objects import Flags, Floats, Ints, Objects, order_of
from analysis.evaluation.overlap import overlaps
from analysis.evaluation.precision import VOC_2007_RECALLS, area_under, hits, precision_at


@dataclass(frozen=True)
class Voc:
    """(k,) the average precision of 2007 (11 recalls) and of 2010 and later (every recall); -1 for a class without objects that count."""

    ap_2007: Floats
    ap_2010: Floats


def voc(truth: Objects, found: Objects, class_count: int, iou: float = 0.5, *, masks: bool = False) -> Voc:
    """Each prediction is compared with the one object of its class and picture that it overlaps most.

    The first to reach ``iou`` with an object is right, later ones are wrong; what is nearest to a difficult object counts neither way.
    VOC knows no crowds: a crowd is taken for a difficult object.
    """
    ignored = truth.crowd | truth.difficult
    order = order_of(found.label, -found.score, found.image)
    found = found.take(order)
    nearest = _nearest(truth, found, class_count, iou, masks)
    near = np.flatnonzero(nearest >= 0)
    first = np.zeros(len(found), np.bool_)
    first[near[np.unique(nearest[near], return_index=True)[1]]] = True
    skipped: Flags = np.r_[ignored, False][nearest]
    made = hits(first & ~skipped, ~first & ~skipped, np.searchsorted(found.label, np.arange(class_count + 1)))
    positives = np.bincount(truth.label[~ignored], minlength=class_count)
    eleven = precision_at(made, positives, VOC_2007_RECALLS).mean(axis=1)
    return Voc(eleven, area_under(made, positives))


def _nearest(truth: Objects, found: Objects, class_count: int, iou: float, masks: bool) -> Ints:
    """(n,) the object that each overlaps most, the first of equal ones; -1 where that is less than ``iou``."""
    plain = Objects(**{**truth.__dict__, "crowd": np.zeros(len(truth), np.bool_)})  # intersection over union with everything
    pairs = overlaps(found, plain, found.group(class_count), truth.group(class_count), iou, masks=masks)
    order = order_of(pairs.iou, -pairs.truth)
    nearest = np.full(len(found), -1, np.int64)
    nearest[pairs.found[order]] = pairs.truth[order]
    return nearest

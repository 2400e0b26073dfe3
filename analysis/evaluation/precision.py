"""Average precision from predictions in the order of their scores: as COCO, VOC 2007 and VOC 2010 define it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.evaluation.objects import Flags, Floats, Ints

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
VOC_2007_RECALLS = np.linspace(0.0, 1.0, 11)
#: COCO's np.spacing(1): keeps 0 / 0 from being asked.
_TINY = np.spacing(1)


@dataclass(frozen=True)
class Hits:
    """The right predictions of one setting, by class, then in the order of scores.

    ``row``: (h,) their place in the order; ``precision``: at that place; ``best``: the largest at this or any later place of the class;
    ``number``: 1, 2, ... within the class; ``begin``: (k + 1,) where each class begins.
    """

    row: Ints
    precision: Floats
    best: Floats
    number: Ints
    begin: Ints


def hits(right: Flags, wrong: Flags, class_begin: Ints) -> Hits:
    """``right``, ``wrong``: (n,) of predictions by class, then in the order of scores; one that is neither is ignored.

    ``class_begin``: (k + 1,) where each class begins. The precision envelope changes at right predictions alone, so those are all it needs.
    """
    row = np.flatnonzero(right)
    begin = np.searchsorted(row, class_begin)
    label = np.repeat(np.arange(len(class_begin) - 1), np.diff(begin))
    number = np.arange(len(row)) - begin[:-1][label] + 1
    wrong_before = np.r_[0, np.cumsum(wrong)]
    wrong_count = wrong_before[row] - wrong_before[class_begin[:-1][label]]
    precision = number / (wrong_count + number + _TINY)
    return Hits(row, precision, _falling(precision, begin), number, begin)


def _falling(precision: Floats, begin: Ints) -> Floats:
    """Each value raised to the largest that follows in its class."""
    best: Floats = precision.copy()
    for first, last in pairwise(begin.tolist()):
        part = best[first:last][::-1]
        np.maximum.accumulate(part, out=part)
    return best


def precision_at(hits: Hits, positives: Ints, recalls: Floats) -> Floats:
    """(k, r) the largest precision with at least each recall, 0 where that recall is not reached, -1 for a class without true objects."""
    needed = _least_hits(positives, recalls)
    reached = needed <= np.diff(hits.begin)[:, None]
    place = hits.begin[:-1, None] + np.maximum(needed, 1) - 1
    reached &= place < hits.begin[1:, None]
    padded = np.r_[hits.best, 0.0]
    values = np.where(reached, padded[np.where(reached, place, len(hits.best))], 0.0)
    return np.where(positives[:, None] > 0, values, -1.0)


def _least_hits(positives: Ints, recalls: Floats) -> Ints:
    """(k, r) the smallest number of right predictions whose recall, as a float, is at least each wanted one."""
    count = np.maximum(positives, 1)[:, None]
    guess = np.maximum(np.ceil(recalls * count).astype(np.int64) - 1, 0)
    for _ in range(2):  # a product and a quotient round differently, by one step at most
        guess += guess / count < recalls
    return guess


def area_under(hits: Hits, positives: Ints) -> Floats:
    """(k,) the area under the precision envelope over all recalls (VOC 2010 and later), -1 for a class without true objects."""
    label = np.repeat(np.arange(len(positives)), np.diff(hits.begin))
    totals = np.bincount(label, hits.best, len(positives))
    return np.where(positives > 0, totals / np.maximum(positives, 1), -1.0)


def mean_of(values: Floats) -> float | None:
    """The mean of what is not -1, None when everything is: COCO prints -1 there."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None

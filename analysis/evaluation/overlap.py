"""Which predictions overlap which true objects, and how much: only pairs that reach a least overlap are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.objects import Floats, Ints, Objects

#: Pairs looked at in one go: what bounds the memory, whatever the number of boxes in a picture.
_BLOCK = 1 << 21
#: Overlap of the pairs (prediction rows, truth rows).
Measure = Callable[[Ints, Ints], Floats]


@dataclass(frozen=True)
class Pairs:
    """(p,) each: rows of the predictions and of the truths that overlap, and their overlap."""

    found: Ints
    truth: Ints
    iou: Floats

    def take(self, rows: NDArray[Any]) -> Pairs:
        return Pairs(self.found[rows], self.truth[rows], self.iou[rows])


def overlaps(found: Objects, truth: Objects, found_group: Ints, truth_group: Ints, least: float, *, masks: bool = False) -> Pairs:
    """All pairs of equal group with an overlap of at least ``least``, which is above 0, by prediction, then truth.

    A crowd region is overlapped by the share of the prediction that lies in it, any other object by intersection over union.
    """
    measure = _mask_measure(found, truth) if masks else _box_measure(found, truth)
    by_group = np.argsort(truth_group, kind="stable")
    groups = truth_group[by_group]
    first = np.searchsorted(groups, found_group, side="left")
    counts = np.searchsorted(groups, found_group, side="right") - first
    rows = np.flatnonzero(counts)
    parts = [_block(part, first, counts, by_group, measure, least) for part in _blocks(rows, counts)]
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("found", "truth", "iou")))


def _blocks(rows: Ints, counts: Ints) -> list[Ints]:
    """The rows in parts that make about ``_BLOCK`` pairs each."""
    if not len(rows):
        return []
    part = np.cumsum(counts[rows]) // _BLOCK
    return np.split(rows, np.flatnonzero(np.diff(part)) + 1)


def _block(rows: Ints, first: Ints, counts: Ints, by_group: Ints, measure: Measure, least: float) -> Pairs:
    times = counts[rows]
    found = np.repeat(rows, times)
    within = np.arange(len(found)) - np.repeat(np.cumsum(times) - times, times)
    truth = by_group[np.repeat(first[rows], times) + within]
    iou = measure(found, truth)
    kept = np.flatnonzero(iou >= least)
    return Pairs(found[kept], truth[kept], iou[kept])


def _box_measure(found: Objects, truth: Objects) -> Measure:
    """In the order of operations of COCO's bbIou, so that every bit is the same."""
    (fx, fy, fw, fh), (tx, ty, tw, th) = (np.ascontiguousarray(boxes.T) for boxes in (found.box, truth.box))
    fr, fb, tr, tb = fx + fw, fy + fh, tx + tw, ty + th
    fa, ta = fw * fh, tw * th

    def measure(f: Ints, t: Ints) -> Floats:
        width = np.minimum(fr[f], tr[t]) - np.maximum(fx[f], tx[t])
        height = np.minimum(fb[f], tb[t]) - np.maximum(fy[f], ty[t])
        both = np.where((width > 0) & (height > 0), width * height, 0.0)
        union = np.where(truth.crowd[t], fa[f], fa[f] + ta[t] - both)
        iou: Floats = np.divide(both, union, out=np.zeros(len(f)), where=both > 0)
        return iou

    return measure


def _mask_measure(found: Objects, truth: Objects) -> Measure:
    """Masks by COCO's own code, and only of pairs whose boxes touch: two masks with an overlap are never apart."""
    from analysis.evaluation.masks import mask_overlap

    def measure(f: Ints, t: Ints) -> Floats:
        iou = np.zeros(len(f))
        starts = np.flatnonzero(np.r_[True, f[1:] != f[:-1]])
        for begin, end in zip(starts, np.r_[starts[1:], len(f)], strict=True):
            iou[begin:end] = mask_overlap(found.mask[f[begin]], [truth.mask[row] for row in t[begin:end]], truth.crowd[t[begin:end]])
        return iou

    return measure

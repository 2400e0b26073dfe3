"""COCO's numbers, of boxes or of masks: average precision and recall over overlaps, sizes and numbers of detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from analysis.evaluation.matching import match, rounds_of
from analysis.evaluation.objects import Flags, Floats, Ints, Objects, order_of, ranks_in
from analysis.evaluation.overlap import overlaps
from analysis.evaluation.precision import COCO_RECALLS, hits, mean_of, precision_at

OVERLAPS = np.linspace(0.5, 0.95, 10)
#: Least and largest area in pixels, both included.
SIZES: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class Coco:
    """``precision``: (t, r, k, a) over overlaps, 101 recalls, classes and sizes; ``recall``: (t, k, a, m), m as ``MOST_DETECTIONS``.

    -1 stands where a class has no true object of that size, as in COCOeval. ``positives``: (k, a) true objects that count.
    """

    precision: Floats
    recall: Floats
    positives: Ints
    sizes: tuple[str, ...] = field(default=tuple(SIZES))

    def summary(self) -> dict[str, float | None]:
        """The twelve numbers that COCOeval prints, by our names; None where it prints -1."""
        numbers = {"AP": mean_of(self.precision[:, :, :, 0]), "AP50": self._at(0), "AP75": self._at(5)}
        numbers |= {f"AP_{size}": mean_of(self.precision[:, :, :, a]) for a, size in enumerate(self.sizes) if a}
        numbers |= {f"AR_{most}": mean_of(self.recall[:, :, 0, m]) for m, most in enumerate(MOST_DETECTIONS)}
        return numbers | {f"AR_{size}": mean_of(self.recall[:, :, a, -1]) for a, size in enumerate(self.sizes) if a}

    def _at(self, overlap: int) -> float | None:
        return mean_of(self.precision[overlap, :, :, 0])

    def by_class(self) -> dict[str, Floats]:
        """(k,) each: AP, AP50, AP75 and AR_100 of every class, -1 for one without true objects."""
        precision = self.precision[:, :, :, 0]
        by_class = {"AP": precision.mean(axis=(0, 1)), "AP50": precision[0].mean(axis=0), "AP75": precision[5].mean(axis=0)}
        return by_class | {f"AR_{MOST_DETECTIONS[-1]}": self.recall[:, :, 0, -1].mean(axis=0)}


def coco(truth: Objects, found: Objects, class_count: int, *, masks: bool = False) -> Coco:
    """As COCOeval's evaluate and accumulate, to the last bits. Labels are below ``class_count``; memory follows the boxes, not images x classes."""
    ranked = _ranked(found, class_count)
    kept = np.flatnonzero(ranked < MOST_DETECTIONS[-1])
    found, rank = found.take(kept), ranked[kept]
    group = found.group(class_count)
    pairs = overlaps(found, truth, group, truth.group(class_count), float(OVERLAPS[0]), masks=masks)
    rounds = rounds_of(pairs, rank, group)
    order = order_of(found.label, -found.score, found.image, rank)
    precision = np.empty((len(OVERLAPS), len(COCO_RECALLS), class_count, len(SIZES)))
    recall = np.empty((len(OVERLAPS), class_count, len(SIZES), len(MOST_DETECTIONS)))
    positives = np.empty((class_count, len(SIZES)), np.int64)
    for a, (least, most) in enumerate(SIZES.values()):
        ignored = truth.crowd | (truth.area < least) | (truth.area > most)
        matched = match(rounds, len(found), ignored, truth.crowd, OVERLAPS)
        right, wrong = judge(matched, ignored, (found.area < least) | (found.area > most))
        positives[:, a] = np.bincount(truth.label[~ignored], minlength=class_count)
        precision[:, :, :, a] = _precisions(right[:, order], wrong[:, order], found.label[order], positives[:, a])
        recall[:, :, a] = _recalls(right, found.label, rank, positives[:, a])
    return Coco(precision, recall, positives)


def judge(matched: Ints, ignored: Flags, outside: Flags) -> tuple[Flags, Flags]:
    """Right and wrong predictions, (t, n) each. What took an ignored object, or took none and is ``outside`` (n,), is neither."""
    took = matched >= 0
    ignored_too = np.where(took, np.r_[ignored, False][matched], outside)
    return took & ~ignored_too, ~took & ~ignored_too


def _ranked(found: Objects, class_count: int) -> Ints:
    """(n,) the place of each prediction among those of its picture and class, by score, then as they came."""
    group = found.group(class_count)
    order = order_of(group, -found.score)
    rank = np.empty(len(found), np.int64)
    rank[order] = ranks_in(group[order])
    return rank


def _precisions(right: Flags, wrong: Flags, label: Ints, positives: Ints) -> Floats:
    begin = np.searchsorted(label, np.arange(len(positives) + 1))
    return np.stack([precision_at(hits(r, w, begin), positives, COCO_RECALLS).T for r, w in zip(right, wrong, strict=True)])


def _recalls(right: Flags, label: Ints, rank: Ints, positives: Ints) -> Floats:
    """(t, k, m)."""
    recall = np.empty((len(right), len(positives), len(MOST_DETECTIONS)))
    for m, most in enumerate(MOST_DETECTIONS):
        for t, row in enumerate(right):
            recall[t, :, m] = np.bincount(label[row & (rank < most)], minlength=len(positives)) / np.maximum(positives, 1)
    return np.where((positives > 0)[None, :, None], recall, -1.0)

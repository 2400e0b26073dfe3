"""Average precision at one IoU threshold, by the rules of the COCO evaluation: 101 recall points, 100 boxes per picture.

Only numpy. Boxes are (n, 4) float x1 y1 x2 y2 in pixels; labels (n,) int; scores (n,) float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MAX_BOXES_PER_CLASS = 100
RECALL_POINTS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture: ``xyxy`` (n, 4) in pixels, ``labels`` (n,), ``scores`` (n,) (1 for ground truth)."""

    xyxy: FloatArray
    labels: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Metrics:
    """``mean_ap`` over the classes that have ground truth; counts at the confidence threshold; all at one IoU threshold."""

    mean_ap: float
    mean_ar: float
    ap_by_class: dict[int, float]
    tp: int
    fp: int
    fn: int


def iou_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes; 0 where a box has no area."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=2)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.asarray(np.where(union > 0, shared / np.maximum(union, 1e-12), 0.0))


def area(boxes: FloatArray) -> FloatArray:
    """(n,) area in square pixels; 0 for inverted boxes."""
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))


def evaluate(found: list[Boxes], truth: list[Boxes], class_count: int, iou_thr: float = 0.5, conf_thr: float = 0.3) -> Metrics:
    """Compares what was found with what is there, picture by picture (same order in both lists)."""
    ap: dict[int, float] = {}
    recalls: list[float] = []
    tp = fp = fn = 0
    for label in range(class_count):
        scores, correct, truth_count = _match_class(found, truth, label, iou_thr)
        kept = scores >= conf_thr
        tp, fp = tp + int(correct[kept].sum()), fp + int((~correct[kept]).sum())
        fn += truth_count - int(correct[kept].sum())
        if truth_count:
            ap[label] = average_precision(scores, correct, truth_count)
            recalls.append(float(correct.sum()) / truth_count)
    mean_ap = float(np.mean(list(ap.values()))) if ap else 0.0
    return Metrics(mean_ap, float(np.mean(recalls)) if recalls else 0.0, ap, tp, fp, fn)


def average_precision(scores: FloatArray, correct: NDArray[np.bool_], truth_count: int) -> float:
    """Mean of the precision envelope at 101 recalls, for boxes (n,) of one class over all pictures."""
    if not len(scores):
        return 0.0
    hits = np.cumsum(correct[np.argsort(-scores, kind="mergesort")])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / truth_count, RECALL_POINTS, side="left")
    return float(np.where(at < len(hits), envelope[np.minimum(at, len(hits) - 1)], 0.0).mean())


def _match_class(found: list[Boxes], truth: list[Boxes], label: int, iou_thr: float) -> tuple[FloatArray, NDArray[np.bool_], int]:
    """Scores (n,), correctness (n,) and the number of true boxes of one class over all pictures."""
    scores: list[FloatArray] = [np.zeros(0)]
    correct, truth_count = [np.zeros(0, bool)], 0
    for one_found, one_truth in zip(found, truth, strict=True):
        mine = np.flatnonzero(one_found.labels == label)
        mine = mine[np.argsort(-one_found.scores[mine], kind="mergesort")][:MAX_BOXES_PER_CLASS]
        wanted = one_truth.xyxy[one_truth.labels == label]
        scores.append(one_found.scores[mine])
        correct.append(_match(one_found.xyxy[mine], wanted, iou_thr))
        truth_count += len(wanted)
    return np.concatenate(scores), np.concatenate(correct), truth_count


def _match(found: FloatArray, wanted: FloatArray, iou_thr: float) -> NDArray[np.bool_]:
    """Which found boxes (best first) take a true box of their own: each takes the free one it overlaps most."""
    overlap = iou_matrix(found, wanted)
    correct = np.zeros(len(found), bool)
    for row in range(len(found)):
        if overlap.shape[1] and overlap[row].max() >= min(iou_thr, 1 - 1e-10):
            correct[row] = True
            overlap[:, _last_argmax(overlap[row])] = -1.0
    return correct


def _last_argmax(values: FloatArray) -> int:
    """The last of equal maxima, as pycocotools takes it."""
    return len(values) - 1 - int(np.argmax(values[::-1]))

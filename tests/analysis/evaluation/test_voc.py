"""VOC's average precision, by hand and beside a plain transcript of VOCdevkit's VOCevaldet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from analysis.evaluation.objects import Objects, make_predictions, make_truths
from analysis.evaluation.voc import voc
from tests.analysis.evaluation.worlds import worlds


def _devkit(truth: Objects, found: Objects, label: int, iou: float) -> tuple[float, float]:
    """Box by box, as the MATLAB code does: 11 points and all points."""
    ignored = truth.crowd | truth.difficult
    rows = [row for row in range(len(found)) if found.label[row] == label]
    rows.sort(key=lambda row: (-found.score[row], found.image[row]))
    taken: set[int] = set()
    right, wrong = [], []
    for row in rows:
        best, which = -np.inf, -1
        for other in range(len(truth)):
            if truth.label[other] == label and truth.image[other] == found.image[row]:
                overlap = _iou(found.box[row], truth.box[other])
                if overlap > best:
                    best, which = overlap, other
        hit = which >= 0 and best >= iou
        right.append(hit and not ignored[which] and which not in taken)
        wrong.append(not hit or (not ignored[which] and which in taken))
        if right[-1]:
            taken.add(which)
    positives = int((~ignored & (truth.label == label)).sum())
    if not positives:
        return -1.0, -1.0
    tp, fp = np.cumsum(right), np.cumsum(wrong)
    recall, precision = tp / positives, tp / np.maximum(tp + fp, 1e-12)
    eleven = [max([p for r, p in zip(recall, precision, strict=True) if r >= t], default=0.0) for t in np.linspace(0, 1, 11)]
    return float(np.mean(eleven)), _area(recall, precision)


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    r, p = np.r_[0, recall, 1], np.r_[0, precision, 0]
    for i in range(len(p) - 2, -1, -1):
        p[i] = max(p[i], p[i + 1])
    return float(sum((r[i] - r[i - 1]) * p[i] for i in range(1, len(r))))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]), min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both) if both else 0.0


@given(worlds())
@settings(max_examples=60)
def test_any_boxes_give_the_numbers_of_the_devkit(made: tuple[Objects, Objects, int, int]) -> None:
    truth, found, _, classes = made
    ours = voc(truth, found, classes, 0.5)
    for label in range(min(classes, 3)):
        np.testing.assert_allclose((ours.ap_2007[label], ours.ap_2010[label]), _devkit(truth, found, label, 0.5), atol=1e-9)


def test_two_of_three_found_with_a_mistake_between_them() -> None:
    """Precision 1 up to recall 1/3, then 2/3 up to 2/3."""
    truth = make_truths([0, 1, 2], [0] * 3, [[0, 0, 10, 10]] * 3)
    found = make_predictions([0, 0, 1], [0] * 3, [[0, 0, 10, 10], [50, 50, 10, 10], [0, 0, 10, 10]], [0.9, 0.8, 0.7])
    numbers = voc(truth, found, 1)
    assert numbers.ap_2007[0] == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert numbers.ap_2010[0] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)


def test_the_second_on_the_same_object_is_wrong_even_where_another_is_free() -> None:
    """VOC compares with the nearest object alone; COCO would give the second one the neighbour."""
    truth = make_truths([0, 0], [0, 0], [[0, 0, 100, 100], [20, 0, 100, 100]])
    found = make_predictions([0, 0], [0, 0], [[0, 0, 100, 100], [5, 0, 100, 100]], [0.9, 0.8])
    assert voc(truth, found, 1).ap_2010[0] == pytest.approx(0.5)


def test_difficult_objects_neither_help_nor_hurt() -> None:
    truth = make_truths([0, 0], [0, 0], [[0, 0, 10, 10], [50, 50, 10, 10]], difficult=[False, True])
    found = make_predictions([0, 0], [0, 0], [[50, 50, 10, 10], [0, 0, 10, 10]], [0.9, 0.8])
    assert voc(truth, found, 1).ap_2010[0] == pytest.approx(1.0)

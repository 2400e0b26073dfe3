"""One confidence and one overlap: marks, counts, the best confidence, curves, confusions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from analysis.evaluation.confusion import confuse
from analysis.evaluation.objects import Objects, make_predictions, make_truths
from analysis.evaluation.operating import best_f1, count, curves, operate
from tests.analysis.evaluation.worlds import worlds

#: Two cats, a crowd of cats, a difficult dog; a third cat is missed.
TRUTH = make_truths(
    [0, 0, 0, 1, 1],
    [0, 0, 0, 1, 0],
    [[0, 0, 10, 10], [100, 0, 10, 10], [200, 0, 50, 50], [0, 0, 20, 20], [300, 0, 9, 9]],
    crowd=[False, False, True, False, False],
    difficult=[False, False, False, True, False],
)
FOUND = make_predictions(
    [0, 0, 0, 0, 0, 1, 1],
    [0, 0, 0, 0, 0, 1, 1],
    [[0, 0, 10, 10], [1, 0, 10, 10], [100, 0, 10, 10], [210, 0, 20, 20], [210, 30, 20, 20], [0, 0, 20, 20], [300, 0, 9, 9]],
    [0.9, 0.8, 0.2, 0.7, 0.6, 0.9, 0.5],
)


def test_every_box_has_its_mark() -> None:
    at = operate(TRUTH, FOUND, 2, 0.5, 0.3)
    assert at.found_marks().tolist() == ["TP", "FP", "IGNORED", "IGNORED", "IGNORED", "IGNORED", "FP"]
    assert at.truth_marks().tolist() == ["MTP", "FN", "IGNORED", "IGNORED", "FN"]
    assert at.touched_by.tolist() == [2, 0, 2, 1, 0]
    assert at.nearest.tolist() == [0, 0, 1, 2, 2, 3, -1]
    assert at.overlap.tolist() == pytest.approx([1, 90 / 110, 1, 1, 1, 1, 0])


def test_counts_and_shares_follow_from_the_marks() -> None:
    counts = count(TRUTH, FOUND, operate(TRUTH, FOUND, 2, 0.5, 0.3), 2)
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == ([1, 0], [1, 1], [2, 0])
    assert counts.precision().tolist() == [0.5, 0]
    assert counts.recall()[0] == pytest.approx(1 / 3)
    assert np.isnan(counts.recall()[1])
    assert counts.f1()[0] == pytest.approx(2 / 5)
    assert counts.total().tp.tolist() == [1]


def test_the_best_confidence_takes_all_of_equal_score() -> None:
    truth = make_truths([0, 1, 2], [0] * 3, [[0, 0, 10, 10]] * 3)
    found = make_predictions([0, 1, 5, 2], [0] * 4, [[0, 0, 10, 10]] * 4, [0.9, 0.5, 0.5, 0.1])
    best, where = best_f1(truth, found, operate(truth, found, 1, 0.5, 0.0), 1)
    assert best.tolist() == pytest.approx([6 / 7])  # at 0.1 all three are right and one is wrong
    assert where.tolist() == [0.1]
    best, where = best_f1(truth, found.take(np.arange(3)), operate(truth, found.take(np.arange(3)), 1, 0.5, 0.0), 1)
    assert (best.tolist(), where.tolist()) == (pytest.approx([4 / 6]), [0.5])


def test_a_curve_has_a_row_where_another_object_is_found() -> None:
    at = operate(TRUTH, FOUND, 2, 0.5, 0.3)
    curve = curves(TRUTH, FOUND, at, 2)
    assert curve.confidence.tolist() == [0.9, 0.2]
    assert curve.recall.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert curve.hits.precision.tolist() == pytest.approx([1, 2 / 3])


def test_confusions_agree_with_the_counts_and_name_the_class_taken_for_another() -> None:
    at = operate(TRUTH, FOUND, 2, 0.5, 0.3)
    assert confuse(TRUTH, FOUND, at, 2, 0.5).table().tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]


@given(worlds())
@settings(max_examples=60)
def test_marks_counts_and_confusions_say_the_same_and_agree_with_one_box_at_a_time(made: tuple[Objects, Objects, int, int]) -> None:
    truth, found, _, classes = made
    at = operate(truth, found, classes, 0.5, 0.4)
    counts = count(truth, found, at, classes)
    assert _slowly(truth, found, 0.5, 0.4) == [(int(row), int(at.truth_of[row])) for row in np.flatnonzero(at.sure & (at.truth_of >= 0))]
    table = confuse(truth, found, at, classes, 0.5).table()
    np.testing.assert_array_equal(np.diag(table)[:classes], counts.tp)
    np.testing.assert_array_equal(table[:, :classes].sum(axis=0), counts.tp + counts.fp)
    np.testing.assert_array_equal(table[:classes].sum(axis=1), counts.tp + counts.fn)
    assert (at.found_marks() == "TP").sum() == counts.tp.sum() == (at.truth_marks() == "MTP").sum()
    best, _ = best_f1(truth, found, at, classes)
    assert np.all((best >= counts.f1() - 1e-12) | np.isnan(counts.f1()) | (counts.tp == 0))


def _slowly(truth: Objects, found: Objects, iou: float, confidence: float) -> list[tuple[int, int]]:
    """COCO's rule with loops: which prediction takes which object, by prediction."""
    taken: set[int] = set()
    matches = []
    for row in sorted(range(len(found)), key=lambda row: -found.score[row]):
        choices = [
            (not (truth.crowd[t] or truth.difficult[t]), overlap, t)
            for t in range(len(truth))
            if truth.image[t] == found.image[row] and truth.label[t] == found.label[row] and (t not in taken or truth.crowd[t])
            for overlap in [_overlap(found.box[row], truth.box[t], bool(truth.crowd[t]))]
            if overlap >= iou
        ]
        if choices and found.score[row] >= confidence:
            best = max(choices)[2]
            taken.add(best)
            matches.append((row, best))
    return sorted(matches)


def _overlap(a: np.ndarray, b: np.ndarray, crowd: bool) -> float:
    width, height = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]), min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return float(both / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - both))

"""COCO's numbers are pycocotools' numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from analysis.evaluation.coco import coco
from analysis.evaluation.masks import to_mask
from analysis.evaluation.objects import InputError, Objects, make_predictions, make_truths
from tests.analysis.evaluation.reference import judged
from tests.analysis.evaluation.worlds import world, worlds

NOTHING: Any = ([], [], [])


def _same(truth: Objects, found: Objects, images: int, classes: int, *, masks: bool = False) -> None:
    precision, recall, stats = judged(truth, found, images, classes, masks=masks)
    ours = coco(truth, found, classes, masks=masks)
    np.testing.assert_allclose(ours.precision, precision[..., -1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.recall, recall, rtol=0, atol=1e-12)
    numbers = [-1.0 if value is None else value for value in ours.summary().values()]
    np.testing.assert_allclose(numbers, stats, rtol=0, atol=1e-12)


@given(worlds())
@settings(max_examples=120)
def test_any_boxes_give_the_numbers_of_pycocotools(made: tuple[Objects, Objects, int, int]) -> None:
    _same(*made)


def test_more_predictions_than_a_picture_may_have() -> None:
    """Beyond 100 of a class they do not count, and which those are is decided among equal scores, too."""
    _same(*world(1, images=2, classes=1, truths=60, predictions=600, grid=10), 2, 1)


def test_two_thousand_classes() -> None:
    _same(*world(2, images=3, classes=2000, truths=300, predictions=800), 3, 2000)


@pytest.mark.parametrize("crowds", [False, True])
def test_masks_give_the_numbers_of_pycocotools(crowds: bool) -> None:
    truth, found = (_with_masks(objects) for objects in world(3, images=4, classes=2, truths=40, predictions=150))
    if not crowds:
        truth = Objects(**{**truth.__dict__, "crowd": np.zeros(len(truth), np.bool_)})
    _same(truth, found, 4, 2, masks=True)


def _with_masks(objects: Objects) -> Objects:
    from pycocotools import mask as coco_mask

    masks = [to_mask([[x, y, x + w, y, x + w * 0.7, y + h, x, y + h * 0.8]], 400, 400) for x, y, w, h in objects.box]
    return Objects(**{**objects.__dict__, "mask": masks, "area": np.array([float(coco_mask.area(mask)) for mask in masks])})


def test_one_object_found_exactly_is_perfect() -> None:
    truth = make_truths([0], [0], [[10, 10, 50, 50]])
    summary = coco(truth, make_predictions([0], [0], [[10, 10, 50, 50]], [0.3]), 1).summary()
    assert [summary[name] for name in ("AP", "AP50", "AP75", "AP_medium", "AR_1", "AR_100")] == pytest.approx([1.0] * 6)
    assert summary["AP_small"] is summary["AP_large"] is None


def test_a_wrong_box_above_the_right_one_halves_the_precision() -> None:
    truth = make_truths([0], [0], [[10, 10, 50, 50]])
    found = make_predictions([0, 0], [0, 0], [[100, 100, 50, 50], [10, 10, 50, 50]], [0.9, 0.3])
    assert coco(truth, found, 1).summary()["AP"] == pytest.approx(0.5)


def test_an_overlap_of_six_tenths_counts_at_three_of_ten_thresholds() -> None:
    """0.50, 0.55 and 0.60."""
    truth = make_truths([0], [0], [[0, 0, 100, 100]])
    assert coco(truth, make_predictions([0], [0], [[0, 0, 100, 60]], [1]), 1).summary()["AP"] == pytest.approx(0.3)


def test_without_predictions_everything_is_nought_and_without_truths_there_is_no_number() -> None:
    truth = make_truths([0], [0], [[0, 0, 100, 100]])
    nothing = make_predictions(*NOTHING, [])
    assert coco(truth, nothing, 1).summary()["AP"] == 0
    assert set(coco(make_truths(*NOTHING), make_predictions([0], [0], [[0, 0, 1, 1]], [1]), 1).summary().values()) == {None}
    assert set(coco(make_truths(*NOTHING), nothing, 1).summary().values()) == {None}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([0], [0], [[np.nan, 0, 1, 1]], [1]), "box: not a number, in row 0"),
        (([0, 0], [0, 0], [[0, 0, 1, 1], [0, 0, np.inf, 1]], [1, 1]), "box: not a number, in row 1"),
        (([0], [0], [[0, 0, 1, 1]], [np.nan]), "score: not a number"),
        (([0], [0], [[0, 0, -1, 1]], [1]), "negative width"),
        (([0], [0], [[0, 0, 1, 1]], [1, 2]), "1 images, but 2 values of score"),
        (([-1], [0], [[0, 0, 1, 1]], [1]), "image: a number below 0"),
        (([0], [0.5], [[0, 0, 1, 1]], [1]), "label: float64 are no whole numbers"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_its_row(columns: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_predictions(*columns)


def test_boxes_without_area_or_far_outside_and_scores_above_one_are_wrong_predictions_and_no_crash() -> None:
    truth = make_truths([0], [0], [[10, 10, 50, 50]])
    found = make_predictions([0] * 4, [0] * 4, [[10, 10, 0, 0], [10, 10, 50, 0], [-900, 9000, 5, 5], [10, 10, 50, 50]], [7, 5, 3, 2])
    _same(truth, found, 1, 1)
    assert coco(truth, found, 1).summary()["AP"] == pytest.approx(0.25)


def test_the_same_prediction_twice_is_one_right_and_one_wrong() -> None:
    truth = make_truths([0, 0], [0, 0], [[10, 10, 50, 50], [200, 200, 50, 50]])
    found = make_predictions([0] * 3, [0] * 3, [[10, 10, 50, 50], [10, 10, 50, 50], [200, 200, 50, 50]], [0.9, 0.9, 0.5])
    assert coco(truth, found, 1).summary()["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)

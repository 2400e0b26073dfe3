"""How two sets of boxes are compared."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes, disagreement, iou, match


def _boxes(*rows: tuple[float, float, float, float, int]) -> Boxes:
    table = np.array(rows, float).reshape(-1, 5)
    return Boxes(table[:, :4], np.ones(len(table)), table[:, 4].astype(np.int64))


def test_iou_of_known_boxes() -> None:
    left = np.array([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    assert iou(left, np.array([[0.0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 0, 0]])).tolist() == [[0.5, 0, 0], [0, 0, 0]]


def test_each_box_is_matched_once_and_only_with_its_class() -> None:
    left = _boxes((0, 0, 10, 10, 0), (20, 20, 30, 30, 1))
    right = _boxes((0, 0, 10, 9, 0), (0, 0, 10, 10, 0), (20, 20, 30, 30, 0))
    assert match(left, right) == [(0, 1)]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (_boxes(), _boxes(), 0.0),
        (_boxes((0, 0, 9, 9, 0)), _boxes(), 1.0),
        (_boxes((0, 0, 9, 9, 0)), _boxes((0, 0, 9, 9, 0)), 0.0),
        (_boxes((0, 0, 9, 9, 0)), _boxes((0, 0, 9, 9, 0), (50, 50, 59, 59, 0)), 1 / 3),
    ],
)
def test_disagreement_is_one_minus_f1(left: Boxes, right: Boxes, expected: float) -> None:
    assert disagreement(left, right) == pytest.approx(expected)

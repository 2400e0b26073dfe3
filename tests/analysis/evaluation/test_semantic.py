"""A class for every pixel, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.evaluation.objects import InputError
from analysis.evaluation.semantic import Pixels

#: cat 0, dog 1, background 2; 255 does not count.
TRUTH = np.array([[0, 0, 1, 1], [2, 2, 2, 255]])
GUESS = np.array([[0, 1, 1, 1], [2, 0, 2, 0]])


def _counted(background: bool, times: int = 1) -> dict:
    pixels = Pixels(["cat", "dog"], background=background)
    for _ in range(times):
        pixels.add(TRUTH, GUESS)
    return pixels.document()


def test_with_the_background_as_a_class() -> None:
    made = _counted(True)
    assert made["metrics"] == pytest.approx({"aAcc": 5 / 7, "mAcc": (1 / 2 + 1 + 2 / 3) / 3, "mIoU": (1 / 3 + 2 / 3 + 2 / 3) / 3})
    assert [row["class"] for row in made["classes"]] == ["cat", "dog", "(background)"]


def test_without_it_its_pixels_count_for_no_accuracy_but_what_is_seen_there_is_wrong() -> None:
    made = _counted(False)
    assert made["metrics"] == pytest.approx({"aAcc": 3 / 4, "mAcc": (1 / 2 + 1) / 2, "mIoU": (1 / 3 + 2 / 3) / 2})
    assert "no class" in made["background"]


def test_pictures_add_up() -> None:
    assert _counted(True, 3)["metrics"] == pytest.approx(_counted(True)["metrics"])
    assert _counted(True, 3)["pictures"] == 3


def test_a_class_that_nobody_has_and_nobody_sees_is_in_no_mean() -> None:
    pixels = Pixels(["cat", "dog", "owl"], background=False)
    pixels.add(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert pixels.document()["metrics"] == {"aAcc": 1.0, "mAcc": 1.0, "mIoU": 1.0}
    assert pixels.document()["classes"][2]["IoU"] is None


def test_three_hundred_classes_with_another_ignored_number() -> None:
    pixels = Pixels([str(number) for number in range(300)], background=True)
    with pytest.raises(InputError, match="255 is the number of a class"):
        pixels.add(np.zeros((1, 1), int), np.zeros((1, 1), int))
    pixels.add(np.array([[255, -1]]), np.array([[255, 7]]), ignored=-1)
    assert pixels.document()["metrics"]["aAcc"] == 1.0


def test_maps_of_other_sizes_and_numbers_of_no_class_are_refused() -> None:
    pixels = Pixels(["cat"], background=False)
    with pytest.raises(InputError, match="pixels"):
        pixels.add(np.zeros((1, 2), int), np.zeros((2, 1), int))
    with pytest.raises(InputError, match="none of the 1 classes"):
        pixels.add(np.zeros((1, 1), int), np.full((1, 1), 7))
    assert pixels.document()["metrics"]["aAcc"] is None

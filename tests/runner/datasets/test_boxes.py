"""Boxes against the picture they are drawn on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Annotation
from runner.boxes import check_boxes

numbers = st.floats(-1e7, 1e7) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0])
boxes = st.builds(Annotation, class_name=st.sampled_from(["cat", " Dog ", "", "a\nb"]), x=numbers, y=numbers, width=numbers, height=numbers)


@given(st.lists(boxes, max_size=8))
def test_whatever_is_drawn_what_is_kept_lies_inside_and_the_rest_is_named(drawn: list[Annotation]) -> None:
    checked = check_boxes("a.jpg", drawn, 640, 480)
    for box in checked.kept:
        assert 0 <= box.x < box.x + box.width <= 640.0001
        assert 0 <= box.y < box.y + box.height <= 480.0001
        assert min(box.width, box.height) > 1
    skipped = [note for note in checked.notes if note.what == "box"]
    assert len(checked.kept) + len(skipped) == len(drawn)


@pytest.mark.parametrize("size", [(0, 5), (1, 1), (1, 300), (-4, 10)])
def test_a_box_without_area_is_named(size: tuple[int, int]) -> None:
    (note,) = check_boxes("a.jpg", [Annotation("rbc", 504, 337, *size)], 640, 480).notes
    assert (note.place, note.what) == ("a.jpg#box 1", "box")
    assert "rbc at (504, 337)" in note.reason


def test_a_box_that_leaves_the_picture_is_clipped_and_named() -> None:
    checked = check_boxes("a.jpg", [Annotation("cat", -10, 5, 60, 20)], 100, 80)
    assert (checked.kept[0].x, checked.kept[0].width) == (0, 50)
    assert [note.what for note in checked.notes] == ["mended"]


def test_a_pixel_beyond_the_edge_is_clipped_and_counted() -> None:
    checked = check_boxes("a.jpg", [Annotation("cat", 90, 70, 11, 11)], 100, 80)
    assert (checked.kept[0].width, checked.kept[0].height) == (10, 10)
    assert (checked.notes, checked.edge_count) == ([], 1)


def test_the_same_box_of_the_same_class_counts_once() -> None:
    drawn = [Annotation("cat", 1, 1, 10, 10), Annotation("dog", 1, 1, 10, 10), Annotation("cat", 1, 1, 10, 10)]
    checked = check_boxes("a.jpg", drawn, 100, 80)
    assert [box.class_name for box in checked.kept] == ["cat", "dog"]
    assert [(note.place, note.what) for note in checked.notes] == [("a.jpg#box 3", "box")]

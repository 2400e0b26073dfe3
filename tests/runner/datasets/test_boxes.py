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


@pytest.mark.parametrize(
    "drawn",
    [
        Annotation("cat", 0, 0, 0, 0, shape="point", points=(0.0, 0.0)),
        Annotation("cat", 100, 80, 0, 0, shape="point", points=(100.0, 80.0)),
        Annotation("cat", 5, 5, 0, 20, shape="line", points=(5.0, 5.0, 5.0, 25.0)),
        Annotation("cat", 5, 5, 20, 0, shape="polyline", points=(5.0, 5.0, 25.0, 5.0, 10.0, 5.0)),
        Annotation("cat", 5, 5, 1, 1, shape="circle", points=(5.5, 5.5, 0.5)),
    ],
)
def test_points_and_lines_need_no_area(drawn: Annotation) -> None:
    checked = check_boxes("a.jpg", [drawn], 100, 80)
    assert (checked.kept, checked.notes, checked.edge_count) == ([drawn], [], 0)


def test_a_label_of_the_whole_picture_gets_the_picture_as_its_box() -> None:
    label = Annotation(" Cat", 0, 0, 0, 0, shape="image")
    checked = check_boxes("a.jpg", [label, label, Annotation("cat", 0, 0, 100, 80)], 100, 80)
    assert [(one.class_name, one.shape, one.width, one.height) for one in checked.kept] == [
        ("cat", "image", 100, 80),
        ("cat", "box", 100, 80),
    ]
    assert [note.place for note in checked.notes] == ["a.jpg#box 2"]


def test_what_is_drawn_across_the_edge_keeps_its_points_and_its_box_is_clipped() -> None:
    circle = Annotation("cat", -10, 10, 40, 40, shape="circle", points=(10.0, 30.0, 20.0))
    checked = check_boxes("a.jpg", [circle], 100, 80)
    assert [(one.x, one.width, one.points) for one in checked.kept] == [(0, 30, (10.0, 30.0, 20.0))]
    assert [note.what for note in checked.notes] == ["mended"]


@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        (Annotation("cat", 200, 10, 0, 0, shape="point", points=(200.0, 10.0)), "lies outside of the picture"),
        (Annotation("cat", 5, 5, 0, 0, shape="point", points=(5.0, math.nan)), "not a finite number"),
        (Annotation("cat", 5, 5, 9, 9, shape="cloud"), "the shape 'cloud'"),
        (Annotation("cat", 5, 5, -9, 9, shape="line", points=(5.0, 5.0, 1.0, 1.0)), "ends before it begins"),
    ],
)
def test_a_shape_that_is_no_use_is_named(drawn: Annotation, reason: str) -> None:
    checked = check_boxes("a.jpg", [drawn], 100, 80)
    assert checked.kept == []
    assert reason in checked.notes[0].reason


def test_points_of_one_place_and_different_lines_in_one_box_are_told_apart() -> None:
    drawn = [
        Annotation("cat", 1, 1, 9, 9, shape="line", points=(1.0, 1.0, 10.0, 10.0)),
        Annotation("cat", 1, 1, 9, 9, shape="line", points=(1.0, 10.0, 10.0, 1.0)),
        Annotation("cat", 1, 1, 9, 9),
    ]
    assert len(check_boxes("a.jpg", drawn, 100, 80).kept) == 3

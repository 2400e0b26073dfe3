"""Charts as PNG: the bars are where the numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from analysis.histograms import chart
from analysis.plots import COLOURS, HEIGHT, WIDTH, draw_chart, number_text, sheet


def _columns_of(picture: Image.Image, colour: str) -> np.ndarray:
    return (np.asarray(picture) == ImageColor.getrgb(colour)).all(axis=2)[60:-70].sum(axis=0)


def test_a_bar_is_as_high_as_its_count_and_stands_in_its_place() -> None:
    picture = draw_chart(chart("k", "K", {"V001": [0.5, 1.5, 1.5, 1.5, 1.5]}, x="", y="pictures", edges=[0, 1, 2, 3, 4]))
    heights = _columns_of(picture, COLOURS[0])
    quarter = (WIDTH - 80) // 4
    first, second, third = (heights[64 + quarter * at + quarter // 2] for at in range(3))
    assert second > 3 * first > 0
    assert third == 0


def test_several_versions_are_laid_over_each_other_as_shares() -> None:
    picture = draw_chart(chart("k", "K", {"a": [0.0] * 10, "b": [0.0]}, x="", y="", edges=[0, 1, 2]))
    assert not _columns_of(picture, COLOURS[0]).any()  # wholly covered by the other, mixed with it
    assert len(set(map(tuple, np.asarray(picture)[100:330, 200]))) == 2  # one colour and the grid


@pytest.mark.parametrize("labels", [[], ["猫"], [f"class {k}" for k in range(200)]])
def test_any_number_of_classes_of_any_name_is_drawn(labels: list[str]) -> None:
    series = [{"name": name, "values": [3] * len(labels)} for name in ("a", "b")]
    bars = {"key": "c", "kind": "bars", "title": "T" * 200, "x": "class", "y": "annotations", "labels": labels, "series": series}
    assert draw_chart(bars).size == (WIDTH, HEIGHT)


def test_a_sheet_has_room_for_all_and_is_never_empty() -> None:
    one = chart("k", "K", {"a": [np.nan]}, x="", y="")
    assert sheet([one] * 4).size == (3 * WIDTH, 2 * HEIGHT)
    assert sheet([]).size == (3 * WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.04, "0.04"), (1234, "1234"), (35_000, "35k"), (1_234_567, "1.23M"), (2.5e9, "2.5G")]
)
def test_numbers_at_an_axis_are_short(value: float, text: str) -> None:
    assert number_text(value) == text

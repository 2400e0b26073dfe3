"""The eleven augmentations and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining.boxes import Boxes, disagreement, iou
from mining.hard_examples import ParameterError
from mining.hard_examples.reasons import OPERATIONS
from mining.hard_examples.views import classify_views, make_view, predict_views
from PIL import Image, ImageDraw

from tests.images.mining.hard_examples.examples import boxes

GEOMETRIC = ("fliplr", "flipud", "crop", "scale", "translate", "shear")


def _picture(*squares: tuple[int, int, int, int], size: tuple[int, int] = (200, 160)) -> Image.Image:
    picture = Image.new("RGB", size, (110, 110, 110))
    for square in squares:
        ImageDraw.Draw(picture).rectangle((square[0], square[1], square[2] - 1, square[3] - 1), fill=(250, 20, 20))
    return picture


def _find_red(picture: Image.Image) -> Boxes:
    """A model that finds the red square, whatever was done to the picture short of inverting it."""
    pixels = np.asarray(picture).astype(int)
    down, across = np.nonzero(pixels[..., 0] - pixels[..., 1] > 90)
    if not len(down):
        return Boxes()
    return boxes((across.min(), down.min(), across.max() + 1, down.max() + 1, 0, 0.9))


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "invert"])
def test_a_square_is_found_where_it_was(operation: str) -> None:
    square = (70, 50, 130, 100)
    (back,) = predict_views(_find_red, _picture(square), [operation]).values()
    least = 0.7 if operation == "shear" else 0.9  # the upright box around a sheared square is wider
    assert iou(back.corners, np.array([square], float))[0, 0] > least


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_changes_the_picture_and_nothing_but_the_copy(operation: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    picture = Image.fromarray(noise)
    view = make_view(picture, operation)
    assert not np.array_equal(np.asarray(view.picture), noise)
    assert np.array_equal(np.asarray(picture), noise)
    assert np.array_equal(np.asarray(view.picture), np.asarray(make_view(picture, operation).picture))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("size", [(1, 1), (3, 500)])
@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_odd_pictures_have_views_too(operation: str, size: tuple[int, int], mode: str) -> None:
    assert make_view(Image.new(mode, size), operation).picture.mode == "RGB"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(GEOMETRIC),
    st.integers(20, 400), st.integers(20, 400),
    st.lists(st.floats(0.25, 0.75), min_size=4, max_size=4),
)  # fmt: skip
def test_there_and_back_gives_a_box_that_holds_the_first(operation: str, width: int, height: int, shares: list[float]) -> None:
    x1, x2 = sorted(share * width for share in shares[:2])
    y1, y2 = sorted(share * height for share in shares[2:])
    view = make_view(Image.new("RGB", (width, height)), operation)
    corner = np.array([[x1, y1, 1], [x2, y2, 1]]) @ view.to_view.T
    there = np.hstack([corner[:, :2].min(0), corner[:, :2].max(0)])
    (back,) = view.map_back(boxes((*there, 0, 1.0))).corners if (x2 - x1) * (y2 - y1) > 1 and operation != "shear" else [(x1, y1, x2, y2)]
    assert back == pytest.approx((x1, y1, x2, y2), abs=1e-6 * max(width, height) + 1e-6)


def test_a_box_that_is_mostly_outside_is_dropped_and_one_that_is_a_little_outside_is_cut() -> None:
    view = make_view(_picture(), "scale")  # the view shows a margin around the picture
    found = boxes((0, 0, 19, 160, 0, 0.9), (10, 40, 60, 80, 0, 0.8))
    assert view.map_back(found).scores.tolist() == [0.8]
    assert view.map_back(found).corners.min() == 0.0


def test_a_box_that_the_crop_hides_is_no_disagreement() -> None:
    corner, middle = (0, 0, 14, 30, 0, 0.9), (80, 60, 120, 100, 0, 0.9)
    plain = boxes(corner, middle)
    blind = predict_views(lambda picture: boxes((60, 44, 100, 84, 0, 0.9)), _picture(), ["crop"], plain)["crop"]
    assert disagreement(plain, blind) == 0.0
    # What the model makes of the sliver that is left of a hidden box does not count either.
    sliver = predict_views(
        lambda picture: boxes((0, 0, 4, 14, 0, 0.9), (60, 44, 100, 84, 0, 0.9)), _picture(), ["crop"], boxes((0, 0, 24, 30, 0, 0.9), middle)
    )
    assert disagreement(boxes((0, 0, 24, 30, 0, 0.9), middle), sliver["crop"]) == 0.0


def test_a_model_that_forgets_a_visible_box_disagrees() -> None:
    plain = boxes((80, 60, 120, 100, 0, 0.9))
    assert disagreement(plain, predict_views(lambda picture: Boxes(), _picture(), ["crop"], plain)["crop"]) == 1.0


def test_views_of_a_classification() -> None:
    found = classify_views(lambda picture: np.array([np.asarray(picture).mean() / 255]), _picture(), ["add", "invert", "fliplr"])
    assert found["add"] > found["fliplr"] > 0.4
    assert found["invert"] == pytest.approx(1 - found["fliplr"], abs=0.01)


def test_an_unknown_operation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="aug_op_config: there is no 'rotate'; known: gaussianblur, "):
        make_view(_picture(), "rotate")

"""The 14 data features on pictures whose values are known by hand, and against a naive reading of the formulas (DF-01, DF-03)."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.features import BOX_KEYS, CLASSIFICATION_KEYS, FEATURES, KEYS, find_feature, measure, measure_file, measure_files
from analysis.near_duplicates import hash_pictures
from analysis.pictures import PictureError
from tests.analysis.conftest import Save, scene

NAN = float("nan")


def _flat(colour: tuple[int, int, int], width: int = 40, height: int = 30) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def _halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    picture = _flat(left)
    picture.paste(right, (20, 0, 40, 30))
    return picture


def _checkerboard() -> Image.Image:
    return Image.fromarray((np.indices((30, 40)).sum(axis=0) % 2 * 255).astype(np.uint8)).convert("RGB")


# resolution, aspect, brightness, saturation, colourfulness, clarity
KNOWN = {
    "grey": (_flat((100, 100, 100)), (1200, 4 / 3, 100, 0, 0, 0)),
    "black": (_flat((0, 0, 0)), (1200, 4 / 3, 0, 0, 0, 0)),
    # R - G = 200, (R + G) / 2 - B = 100; no spread
    "red": (_flat((200, 0, 0)), (1200, 4 / 3, 60, 1, 0.3 * math.hypot(200, 100), 0)),
    # luma 76 and 29; at the seam the Laplacian is -47 and +47 in 30 of 40 * 30 pixels each
    "red and blue": (
        _halves((255, 0, 0), (0, 0, 255)),
        (1200, 4 / 3, 52.5, 1, math.hypot(127.5, 191.25) + 0.3 * math.hypot(127.5, -63.75), 47**2 * 60 / 1200),
    ),
    # each pixel has four neighbours of the other colour: +-1020, at the border too, for it is mirrored
    "checkerboard": (_checkerboard(), (1200, 4 / 3, 127.5, 0, 0, 1020**2)),
    "one pixel": (_flat((10, 10, 10), 1, 1), (1, 1, 10, 0, 0, 0)),
    "one row": (_flat((10, 10, 10), 7, 1), (7, 7, 10, 0, 0, 0)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_picture_has_the_values_of_the_table(name: str) -> None:
    picture, values = KNOWN[name]
    assert list(measure(picture, keys=CLASSIFICATION_KEYS).picture.values()) == pytest.approx(values, abs=1e-3)


def test_known_boxes_have_the_values_of_the_table() -> None:
    """A picture of 40 x 30, half its diagonal is 25: the left half dark, the right half bright."""
    picture = _halves((20, 20, 20), (220, 220, 220))
    boxes = [(0, 0, 20, 30), (10, 10, 20, 10), (30, 20, 10, 10), (38, 0, 10, 4), (50, 50, 5, 5), (3, 3, 0, 6)]
    measured = measure(picture, boxes)
    expected = {
        "bbox_aspect_ratio": [2 / 3, 2, 1, 2.5, 1, 0],
        "bbox_area_ratio": [0.5, 1 / 6, 1 / 12, 1 / 30, 1 / 48, 0],
        "bbox_edge_value": [
            10 / 25,
            0,
            math.hypot(15, 10) / 25,
            math.hypot(23, 13) / 25,
            math.hypot(32.5, 37.5) / 25,
            math.hypot(17, 9) / 25,
        ],
        "bbox_bright": [20, 120, 220, 220, NAN, 20],
        # 200 at the seam: one column of 20 in the first, two of 20 in the second, of opposite sign
        "bbox_ambiguity": [200**2 * (1 / 20 - 1 / 400), 200**2 / 10, 0, 0, NAN, 0],
        "bbox_iou": [1 / 6, 0.5, 0, 0, 0, 0],
    }
    for key, values in expected.items():
        assert measured.boxes[key].tolist() == pytest.approx(values, abs=1e-3, nan_ok=True), key
    assert measured.picture["bbox_num"] == 6
    assert measured.picture["bbox_std"] == pytest.approx(np.std([600, 200, 100, 40, 25, 0]) / 1200, abs=1e-9)
    assert measured.picture["bbox_bright"] == pytest.approx(120, abs=1e-3)


def _naive(picture: Image.Image) -> dict[str, float]:
    """The formulas, pixel by pixel in Python."""
    width, height = picture.size
    rgb = [[picture.getpixel((x, y)) for x in range(width)] for y in range(height)]
    luma = [[(r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16 for r, g, b in row] for row in rgb]

    def at(y: int, x: int) -> int:
        y = (1 if y < 0 else height - 2 if y >= height else y) if height > 1 else 0
        x = (1 if x < 0 else width - 2 if x >= width else x) if width > 1 else 0
        return luma[y][x]

    laplacian = [at(y - 1, x) + at(y + 1, x) + at(y, x - 1) + at(y, x + 1) - 4 * at(y, x) for y in range(height) for x in range(width)]
    flat = [pixel for row in rgb for pixel in row]
    rg, yb = [r - g for r, g, b in flat], [(r + g) / 2 - b for r, g, b in flat]
    return {
        "image_brightness": float(np.mean(luma)),
        "image_saturation": float(np.mean([colorsys.rgb_to_hsv(*(v / 255 for v in pixel))[1] for pixel in flat])),
        "image_colorfulness": math.hypot(np.std(rg), np.std(yb)) + 0.3 * math.hypot(np.mean(rg), np.mean(yb)),
        "ambiguity": float(np.var(laplacian)),
    }


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_the_formulas(width: int, height: int, seed: int) -> None:
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    measured = measure(picture, [(0, 0, width, height)])
    for key, value in _naive(picture).items():
        assert measured.picture[key] == pytest.approx(value, abs=1e-3), key
    # a box that is the whole picture has the picture's own values
    assert measured.picture["bbox_bright"] == pytest.approx(measured.picture["image_brightness"])
    assert measured.picture["bbox_ambiguity"] == pytest.approx(measured.picture["ambiguity"])


def test_strips_do_not_show() -> None:
    """A picture that is walked over in several strips: its upper and lower parts, taken as boxes, are those of the whole Laplacian."""
    picture = scene(3, 900, 400)
    lap = measure(picture, [(0, y, 900, 1) for y in range(400)]).boxes["bbox_ambiguity"]
    grey = np.pad(np.asarray(picture.convert("L"), np.int64), 1, mode="reflect")
    full = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    assert lap.tolist() == pytest.approx(full.var(axis=1).tolist())
    assert measure(picture).picture["ambiguity"] == pytest.approx(full.var())


@given(st.lists(st.tuples(*(st.integers(0, 14) for _ in range(4))), max_size=12))
@settings(max_examples=100, deadline=None)
def test_overlap_is_the_share_of_cells_that_others_cover(boxes: list[tuple[int, int, int, int]]) -> None:
    measured = measure(_flat((0, 0, 0)), boxes, ["bbox_iou"]).boxes["bbox_iou"]
    for index, (x, y, w, h) in enumerate(boxes):
        others = np.zeros((30, 30), np.bool_)
        for other, (ox, oy, ow, oh) in enumerate(boxes):
            if other != index:
                others[oy : oy + oh, ox : ox + ow] = True
        assert measured[index] == pytest.approx(others[y : y + h, x : x + w].mean() if w * h else 0)


def test_overlap_of_very_many_boxes_is_computed_in_blocks() -> None:
    """1,500 boxes: more columns than one block holds. Each stands in a row of touching ones, and every second one has a twin."""
    lone = [(2 * i, 0, 2, 3) for i in range(500)]
    twins = [(2 * i, 10, 2, 3) for i in range(500) for _ in range(2)]
    shares = measure(_flat((0, 0, 0)), lone + twins, ["bbox_iou"]).boxes["bbox_iou"]
    assert shares.tolist() == [0.0] * 500 + [1.0] * 1000


def test_keys_are_those_of_modelarts_in_the_order_of_their_reasons() -> None:
    documented = (
        "image_aspect_ratio:0.5+image_brightness:1.0+image_saturation:0.5+image_resolution:0.5+image_colorfulness:0.5+ambiguity:1.0+bbox_num:1.0"
        "+bbox_iou:1.0+bbox_std:0.5+bbox_bright:0.5+bbox_ambiguity:0.5+bbox_aspect_ratio:1.0+bbox_area_ratio:0.5+bbox_edge_value:0.5"
    )
    assert set(KEYS) == {part.partition(":")[0] for part in documented.split("+")}
    assert [feature.reason for feature in FEATURES] == sorted([5, 6, 7, 8, 10, 9, *range(11, 19)])
    names = [name for feature in FEATURES for name in (feature.key, *feature.aliases)]
    assert len(set(names)) == len(names)


def test_a_feature_is_found_by_its_aliases_and_an_unknown_one_is_refused_with_the_known() -> None:
    assert find_feature("blur_score").key == find_feature("Clarity").key == "ambiguity"
    assert find_feature("box-overlap").key == "bbox_iou"
    with pytest.raises(ValueError, match="no feature 'sharpest'; known: image_resolution"):
        find_feature("sharpest")


def test_only_what_was_asked_for_is_measured_and_a_file_is_not_decoded_for_its_size(save: Save) -> None:
    file = save(scene(1), "a.png")
    file.write_bytes(file.read_bytes()[:100])  # the head is whole
    measured = measure_file(file, [(0, 0, 32, 24)], ["image_resolution", "bbox_area_ratio"])
    assert measured.picture == {"image_resolution": 320 * 240, "bbox_area_ratio": 0.01}
    assert list(measured.boxes) == ["bbox_area_ratio"]
    assert measured.hash is None


def test_many_files_keep_their_order_and_a_broken_one_its_place(save: Save) -> None:
    files = [save(scene(seed), f"{seed}.png") for seed in range(9)]
    files[4].write_bytes(b"no picture")
    found = list(measure_files(((file, [(1, 2, 3, 4)] * index) for index, file in enumerate(files)), workers=3))
    assert isinstance(found[4], PictureError)
    assert found[4].path == files[4]
    assert [m.picture["bbox_num"] for m in found if not isinstance(m, PictureError)] == [0, 1, 2, 3, 5, 6, 7, 8]
    hashes = [m.hash for m in found if not isinstance(m, PictureError)]
    assert hashes == hash_pictures([file for file in files if file != files[4]]).tolist()


def test_the_same_pixels_give_the_same_values_whatever_holds_them(save: Save) -> None:
    picture = scene(8)
    there = [measure_file(save(picture, f"a.{suffix}"), [(5, 5, 50, 50)]) for suffix in ("png", "bmp")]
    here = measure(picture, [(5, 5, 50, 50)])
    assert there[0].picture == there[1].picture == here.picture
    assert there[0].hash == here.hash
    assert len(here.thumbnail or b"") == 8 * 8 * 3


@pytest.mark.parametrize("wrong", [(0, 0, -1, 5), (0, NAN, 1, 1), (0, 0, math.inf, 1)])
def test_impossible_boxes_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="boxes must be finite"):
        measure(_flat((0, 0, 0)), [wrong])


def test_a_picture_without_boxes_has_no_box_values() -> None:
    measured = measure(_flat((0, 0, 0)))
    assert measured.picture["bbox_num"] == 0
    assert all(math.isnan(measured.picture[key]) for key in (*BOX_KEYS, "bbox_std"))

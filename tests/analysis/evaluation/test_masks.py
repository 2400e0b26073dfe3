"""Masks: what COCO's code is given, and what never reaches it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evaluation.masks import box_mask, mask_area, mask_overlap, to_mask, to_pixels
from analysis.evaluation.objects import InputError


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_runs_are_read_compressed_or_not_as_the_pixels_they_are(height: int, width: int, seed: int) -> None:
    from pycocotools import mask as coco_mask

    pixels = np.random.default_rng(seed).random((height, width)) < 0.5
    packed = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    runs = [int(part) for part in np.diff(np.r_[0, np.flatnonzero(np.diff(np.r_[0, pixels.T.ravel().astype(int)])), height * width])]
    for counts in (packed["counts"], packed["counts"].decode(), runs):
        made = to_mask({"size": [height, width], "counts": counts}, height, width)
        assert (to_pixels(made) == pixels).all()
        assert mask_area(made) == pixels.sum()


def test_overlaps_are_shares_of_pixels() -> None:
    one, other = box_mask([0, 0, 4, 4], 10, 10), box_mask([2, 0, 4, 4], 10, 10)
    assert mask_overlap(one, [other, one], np.array([False, False])).tolist() == pytest.approx([8 / 24, 1])
    assert mask_overlap(one, [other], np.array([True])).tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [4, 4], "counts": [3, 4]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [5, 4], "counts": [20]},
        {"size": [4, 4], "counts": "~~~~"},
        {"size": [4, 4], "counts": "oooooooooooooooooooooooooooo"},
        {"size": [4, 4], "counts": "o"},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4]},
        {},
        [[0, 0, 1, 1]],
        [[0, 0, 1, 1, float("nan"), 1]],
        [[0, 0, 1e12, 1, 1, 1]],
        [],
        None,
    ],
)
def test_hostile_masks_are_refused_before_they_reach_c_code(segmentation: Any) -> None:
    with pytest.raises(InputError):
        to_mask(segmentation, 4, 4)


def test_a_mask_of_a_giant_picture_is_refused() -> None:
    with pytest.raises(InputError, match="1000000x1000000"):
        box_mask([0, 0, 1, 1], 1_000_000, 1_000_000)

"""Run-length masks, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as peer

from plugins.formats.run_length import compress, decompress, read_segmentation
from plugins.formats.values import BadValueError

masks = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))


@given(masks)
def test_masks_are_written_and_read_as_pycocotools_does(shape: tuple[int, int, int, float]) -> None:
    height, width, seed, share = shape
    pixels = np.asfortranarray((np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8))
    theirs = peer.encode(pixels)["counts"].decode()
    runs = decompress(theirs)
    assert sum(runs) == height * width
    assert compress(runs) == theirs
    assert read_segmentation({"size": [height, width], "counts": runs}) == {"size": [height, width], "counts": theirs}


@given(st.text(max_size=60))
def test_any_text_is_a_mask_or_is_refused(text: str) -> None:
    try:
        runs = decompress(text)
    except BadValueError:
        return
    assert all(run >= 0 for run in runs)


@pytest.mark.parametrize("size", [[0, 5], [10**9, 10**9], [2], "2x2", [2.0, float("nan")]])
def test_a_mask_of_no_possible_size_is_refused(size: object) -> None:
    with pytest.raises(BadValueError):
        read_segmentation({"size": size, "counts": [4]})

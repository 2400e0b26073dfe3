"""Changes of a picture under which a sure detector finds the same: for strategies that ask it twice. Only numpy and Pillow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from job_files.pictures import GREY, ByteArray
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class View:
    """A change of a picture (h, w, 3), and how corners (n, 4) found in it go back to the picture."""

    change: Callable[[ByteArray], ByteArray]
    back: Callable[[FloatArray, ByteArray], FloatArray]


def mirrored(picture: ByteArray) -> ByteArray:
    return np.ascontiguousarray(picture[:, ::-1])


def unmirrored(corners: FloatArray, picture: ByteArray) -> FloatArray:
    width = picture.shape[1]
    return np.stack([width - corners[:, 2], corners[:, 1], width - corners[:, 0], corners[:, 3]], 1)


def smaller(picture: ByteArray) -> ByteArray:
    return np.asarray(Image.fromarray(picture).resize(smaller_size(picture), Image.Resampling.BILINEAR))


def smaller_size(picture: ByteArray) -> tuple[int, int]:
    """(width, height) at 0.8 of the size, as CALD has it."""
    return max(1, round(0.8 * picture.shape[1])), max(1, round(0.8 * picture.shape[0]))


def larger_again(corners: FloatArray, picture: ByteArray) -> FloatArray:
    width, height = smaller_size(picture)
    return corners * np.tile([picture.shape[1] / width, picture.shape[0] / height], 2)


def with_a_hole(picture: ByteArray) -> ByteArray:
    """A grey square over the middle, a quarter of each side."""
    height, width = picture.shape[:2]
    changed = picture.copy()
    changed[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = GREY
    return changed


def softer(picture: ByteArray) -> ByteArray:
    """Half of the contrast."""
    return ((picture.astype(np.int16) + GREY) // 2).astype(np.uint8)


def in_place(corners: FloatArray, picture: ByteArray) -> FloatArray:  # noqa: ARG001 - others need the picture's size
    return corners


#: By the names that the hard-example operator has for them where it has one.
VIEWS = {
    "fliplr": View(mirrored, unmirrored),
    "scale": View(smaller, larger_again),
    "cutout": View(with_a_hole, in_place),
    "contrast": View(softer, in_place),
}

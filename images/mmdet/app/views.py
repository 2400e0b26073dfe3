"""Changed pictures for strategies that ask whether a model says the same of them: mirrored, smaller, darker. Only numpy and Pillow.

These are three of the changes of CALD (arXiv 2103.10374) that keep every object in sight, so that a missing box always means doubt.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from evaluate import FloatArray
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
SMALLER, DARKER = 0.7, 0.6


def flip(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


def smaller(pixels: Pixels) -> Pixels:
    """The picture at 70 % of its size, in the upper left of a canvas of the old size, so that a network sees it smaller."""
    height, width = pixels.shape[:2]
    size = max(1, round(width * SMALLER)), max(1, round(height * SMALLER))
    canvas = np.full_like(pixels, 114)
    canvas[: size[1], : size[0]] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    return canvas


def darker(pixels: Pixels) -> Pixels:
    return (pixels * DARKER).astype(np.uint8)


def from_flip(corners: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Corners (n, 4) of the mirrored picture in the picture's own pixels."""
    return np.stack([size[0] - corners[:, 2], corners[:, 1], size[0] - corners[:, 0], corners[:, 3]], axis=1)


def from_smaller(corners: FloatArray, size: tuple[int, int]) -> FloatArray:
    shares = np.array([max(1, round(side * SMALLER)) / side for side in size])
    return np.clip(corners / np.tile(shares, 2), 0, np.tile(np.array(size), 2))


def from_darker(corners: FloatArray, size: tuple[int, int]) -> FloatArray:  # noqa: ARG001 (nothing has moved)
    return corners


#: By name: what is done to the pixels (h, w, 3), and how boxes come back to the picture of a size (width, height).
VIEWS: dict[str, tuple[Callable[[Pixels], Pixels], Callable[[FloatArray, tuple[int, int]], FloatArray]]] = {
    "flip": (flip, from_flip),
    "smaller": (smaller, from_smaller),
    "darker": (darker, from_darker),
}

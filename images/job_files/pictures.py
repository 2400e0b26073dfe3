"""Small things about pictures and batches that every image needs. Only numpy and Pillow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ByteArray = NDArray[np.uint8]

GREY = 114  # what lies beside a picture in the network's view
#: What Pillow raises for a file that is no picture, or one that would fill the memory.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def chunks(count: int, size: int) -> Iterator[range]:
    """0..count-1 in runs of at most ``size``."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def log(message: str) -> None:
    """A line for the container's log."""
    print(message, flush=True, file=sys.stdout)


def difference_hash(picture: ByteArray) -> int:
    """64 bits of a picture (h, w, 3) that hardly change with its size and light: whether it becomes brighter to the right, on 9 x 8 cells."""
    small: Any = Image.fromarray(picture).convert("L").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")

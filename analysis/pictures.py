"""Pictures as arrays: opened once, whatever their mode, and refused by name when they cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Larger pictures are refused: as many pixels as Pillow takes without a warning. Decoded to RGB that is 256 MiB.
MAX_PIXELS = 89_478_485

Plane = npt.NDArray[np.uint8]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class PictureError(Exception):
    """A file that is no usable picture; ``path`` is its name, ``reason`` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason


def open_picture(path: Path) -> Image.Image:
    """The decoded picture in the mode ``RGB`` and in the size as stored (the EXIF orientation is not applied, since boxes do not know it).

    16-bit grey is brought to 8 bits by its upper byte; transparent pixels are taken with the colour they have, alpha is dropped; CMYK and
    palettes are converted. Raises ``PictureError`` for anything that is missing, truncated, too large or no picture at all.
    """
    with _opened(path) as picture:
        return _to_rgb(picture)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as the file's head says; nothing is decoded. Raises ``PictureError``."""
    with _opened(path) as picture:
        return picture.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture before it is decoded; whatever goes wrong then, too, becomes a ``PictureError``."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureError(path, f"is too large: {picture.width} x {picture.height} pixels, at most {MAX_PIXELS:,} are read")
            yield picture
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(path, f"is too large: at most {MAX_PIXELS:,} pixels are read") from error
    except OSError as error:
        raise PictureError(path, f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes: ValueError, SyntaxError, struct.error, ...
        raise PictureError(path, f"cannot be decoded: {error}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_eight_bits(picture)).convert("RGB")
    if picture.mode in ("P", "PA") and "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGB")
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Plane:
    """Grey of 16 or 32 bits: ``I;16`` and the ``I`` that older readers make of it are divided by 256, a float picture is taken as it is."""
    values = np.asarray(picture)
    scaled = values if picture.mode == "F" else values >> 8
    eight: Plane = np.nan_to_num(scaled).clip(0, 255).astype(np.uint8)
    return eight


def worker_count() -> int:
    """Threads worth starting: decoding and numpy leave the interpreter's lock, so one for each processor this process may use."""
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return max(1, min(16, len(usable(0))))


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None) -> Iterator[_Result]:
    """``work(item)`` for each item, in order, on threads; never more than four results per thread are waiting, so memory is bounded."""
    workers = workers or worker_count()
    with ThreadPoolExecutor(workers, thread_name_prefix="pictures") as pool:
        queue = iter(items)
        waiting: list[Future[_Result]] = [pool.submit(work, item) for item in islice(queue, 4 * workers)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting.extend(pool.submit(work, item) for item in islice(queue, 1))
        finally:
            for future in waiting:
                future.cancel()

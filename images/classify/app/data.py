"""Pictures and their labels as arrays. Only numpy and Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from job_files.contract import DATASET_ERROR, IMAGE_FORMAT_ERROR, ImageError
from job_files.pictures import GREY, UNREADABLE, ByteArray, chunks, log
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.floating]

STEP = 16  # the side of what the network sees is a multiple of this
SMALLEST_AUTO_SIZE, LARGEST_AUTO_SIZE = 32, 128
CACHE_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Sample:
    """One labelled picture. ``labels`` are class ids, the picture's label first, at least one; ``longest_side`` is the file's, in pixels."""

    path: Path
    labels: tuple[int, ...]
    longest_side: int


def read_samples(rows: list[list[str]], class_names: Sequence[str]) -> list[Sample]:
    """The pictures of an index that have a label; what cannot be read or has none is left out and logged.

    Raises ImageError 300002 when nothing is left, 300003 when no picture can be read.
    """
    read = [found for row in rows if (found := _read_sample(row, len(class_names))) is not None]
    if not read:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(rows)} pictures can be read, the first is {rows[0][0]}")
    samples = [sample for sample in read if sample.labels]
    if not samples:
        raise ImageError(DATASET_ERROR, f"none of the {len(rows)} pictures has a label of the classes {list(class_names)}")
    if len(samples) < len(read):
        log(f"left out {len(read) - len(samples)} pictures without a label of the classes")
    return samples


def read_labels(path: Path, class_count: int) -> tuple[int, ...]:
    """Class ids of an annotation file, one a line, each once; ids that are no class are left out. Raises ImageError 300002."""
    try:
        labels = [int(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ImageError(DATASET_ERROR, f"{path} is not a readable annotation: {error}") from error
    return tuple(dict.fromkeys(label for label in labels if 0 <= label < class_count))


def read_picture(path: Path, side: int) -> ByteArray:
    """(side, side, 3) RGB: the whole picture, its longest side at ``side``, on grey. Raises ImageError 300003."""
    try:
        with Image.open(path) as picture:
            factor = side / max(picture.size)
            width, height = (max(1, round(length * factor)) for length in picture.size)
            picture.draft("RGB", (width, height))
            scaled = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
    except UNREADABLE as error:
        raise ImageError(IMAGE_FORMAT_ERROR, f"{path} is not a readable picture: {error}") from error
    square = np.full((side, side, 3), GREY, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = scaled
    return square


def read_batches(paths: Sequence[Path], side: int, batch_size: int) -> Iterator[tuple[list[Path], ByteArray, float]]:
    """Readable pictures (n, side, side, 3) with their paths, and the share of all that is done then; the others are logged."""
    for rows in chunks(len(paths), batch_size):
        batch = []
        for path in (paths[row] for row in rows):
            try:
                batch.append((path, read_picture(path, side)))
            except ImageError as error:
                log(f"left out: {error}")
        if batch:
            yield [path for path, _ in batch], np.stack([picture for _, picture in batch]), rows.stop / len(paths)


def choose_image_size(samples: Sequence[Sample]) -> int:
    """The pictures' usual longest side, as a multiple of 16 in [32, 128]."""
    usual = float(np.median([sample.longest_side for sample in samples]))
    return int(np.clip(round(usual / STEP) * STEP, SMALLEST_AUTO_SIZE, LARGEST_AUTO_SIZE))


def soft_targets(samples: Sequence[Sample], class_count: int) -> FloatArray:
    """(n, C) what the network should answer: a picture of several labels is each of them in equal parts."""
    targets = np.zeros((len(samples), class_count), np.float32)
    for row, sample in zip(targets, samples, strict=True):
        row[list(sample.labels)] = 1 / len(sample.labels)
    return targets


class PictureStore:
    """Pictures at network size; kept in memory as far as they fit."""

    def __init__(self, samples: Sequence[Sample], side: int, cache_bytes: int = CACHE_BYTES) -> None:
        self.samples, self.side = list(samples), side
        self._room = cache_bytes
        self._pictures: dict[int, ByteArray] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def get(self, index: int) -> ByteArray:
        """(side, side, 3)."""
        picture = self._pictures.get(index)
        if picture is None:
            picture = read_picture(self.samples[index].path, self.side)
            if self._room > 0:
                self._room -= picture.nbytes
                self._pictures[index] = picture
        return picture

    def batch(self, indices: Sequence[int]) -> ByteArray:
        """(n, side, side, 3)."""
        return np.stack([self.get(index) for index in indices])


def _read_sample(row: list[str], class_count: int) -> Sample | None:
    path = Path(row[0])
    try:
        with Image.open(path) as picture:
            longest = max(picture.size)
            picture.load()
    except UNREADABLE as error:
        log(f"left out {path}: not a readable picture ({error})")
        return None
    return Sample(path, read_labels(Path(row[1]), class_count) if len(row) > 1 and row[1] else (), longest)

"""What the model was trained on: pictures with their annotations, as ``/in/train-index.tsv`` lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from job_files.contract import DATASET_ERROR, ImageError
from mining.boxes import Boxes


@dataclass(frozen=True)
class Labelled:
    """m pictures; ``boxes`` of a detection, ``labels`` (m,) of a classification, -1 where a picture has none of the classes."""

    paths: list[Path]
    boxes: list[Boxes] | None
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> Labelled:
        boxes = None if self.boxes is None else [self.boxes[row] for row in rows]
        return Labelled([self.paths[row] for row in rows], boxes, None if self.labels is None else self.labels[list(rows)])


def read_labelled(rows: list[list[str]], class_count: int, classification: bool) -> Labelled:
    """The rows of an index of picture and annotation. Raises ImageError 300002 naming a file that cannot be read."""
    paths = [Path(row[0]) for row in rows]
    files = [Path(row[1]) if len(row) > 1 else None for row in rows]
    if classification:
        return Labelled(paths, None, np.array([_label(file, class_count) for file in files], np.int64))
    return Labelled(paths, [_boxes(file, class_count) for file in files], None)


def drawn(labelled: Labelled, most: int, seed: int) -> Labelled:
    """At most ``most`` of them (0: all), by seed and file name: others that come do not change who is drawn."""
    if not most or len(labelled) <= most:
        return labelled
    ranks = [hashlib.sha256(f"{seed}/{path.name}".encode()).digest() for path in labelled.paths]
    return labelled.take(sorted(sorted(range(len(labelled)), key=ranks.__getitem__)[:most]))


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(DATASET_ERROR, f"{file} is not a readable annotation: {error}") from error


def _boxes(file: Path | None, class_count: int) -> Boxes:
    """Of an ark file: class, xmin, ymin, xmax, ymax, the last pixel counted in. Boxes of other classes or without area are left out."""
    try:
        table = np.array([[float(cell) for cell in line.split(",")[:5]] for line in _lines(file)], np.float64).reshape(-1, 5)
    except ValueError as error:
        raise ImageError(DATASET_ERROR, f"{file} is not a readable annotation: {error}") from error
    corners = table[:, 1:] + [0, 0, 1, 1]
    kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]) & (table[:, 0] >= 0) & (table[:, 0] < class_count)
    return Boxes(corners[kept], np.ones(int(kept.sum())), table[kept, 0].astype(np.int64))


def _label(file: Path | None, class_count: int) -> int:
    """The first class of the file, which is the picture's label."""
    lines = _lines(file)
    try:
        index = int(lines[0]) if lines else -1
    except ValueError as error:
        raise ImageError(DATASET_ERROR, f"{file} is not a readable annotation: {error}") from error
    return index if index < class_count else -1

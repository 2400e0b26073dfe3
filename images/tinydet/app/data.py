"""Pictures and their boxes as arrays: reading annotations, scaling, augmenting. Only numpy and Pillow.

Inside this image boxes are (n, 4) float x1 y1 x2 y2 in pixels, x2 and y2 just outside the box.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from job_files.contract import DATASET_ERROR, IMAGE_FORMAT_ERROR, ImageError
from job_files.pictures import GREY, UNREADABLE, ByteArray, log
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

GRID = 32  # the sides of what the network sees are multiples of this
SMALLEST_AUTO_SIZE, LARGEST_AUTO_SIZE = 128, 640
AUTO_OBJECT_PIXELS = 24  # the auto size shows the smallest class's usual object with about this side
CACHE_BYTES = 512 * 1024**2
LEAST_VISIBLE = 0.3


@dataclass(frozen=True)
class Sample:
    """One labelled picture. ``size`` is (width, height) of the file in pixels."""

    path: Path
    size: tuple[int, int]
    boxes: FloatArray
    labels: IntArray


@dataclass(frozen=True)
class Augmentation:
    """How pictures are varied in training: shares, probabilities and switches."""

    scale: float
    shift: float
    mosaic: float
    flip_horizontal: bool
    flip_vertical: bool


NO_AUGMENTATION = Augmentation(0.0, 0.0, 0.0, False, False)


def read_samples(rows: list[list[str]], class_names: Sequence[str]) -> list[Sample]:
    """The pictures of an index with their boxes; what cannot be read is left out and logged.

    Raises ImageError 300002 when nothing is left.
    """
    samples = [sample for row in rows if (sample := _read_sample(row, class_names)) is not None]
    if not samples:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(rows)} pictures can be read, the first is {rows[0][0]}")
    return samples


def read_boxes(path: Path, class_names: Sequence[str]) -> tuple[FloatArray, IntArray]:
    """Boxes and class ids of an annotation file: VOC for .xml, else ark. Boxes without area or of other classes are left out."""
    try:
        rows = _read_voc(path, class_names) if path.suffix.lower() == ".xml" else _read_ark(path, len(class_names))
    except (OSError, ValueError, IndexError, AttributeError, ET.ParseError) as error:
        raise ImageError(DATASET_ERROR, f"{path} is not a readable annotation: {error}") from error
    table = np.array(rows, dtype=float).reshape(-1, 5)
    boxes = table[:, 1:] + [0, 0, 1, 1]  # the files count the last pixel in
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (table[:, 0] >= 0)
    return boxes[kept], table[kept, 0].astype(int)


def read_picture(path: Path, longest_side: int) -> tuple[ByteArray, float]:
    """(h, w, 3) RGB with its longest side at ``longest_side``, and what was multiplied. Raises ImageError 300003."""
    try:
        with Image.open(path) as picture:
            factor = longest_side / max(picture.size)
            size = scaled_size(picture.size, longest_side)
            picture.draft("RGB", size)
            return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)), factor
    except UNREADABLE as error:
        raise ImageError(IMAGE_FORMAT_ERROR, f"{path} is not a readable picture: {error}") from error


def scaled_size(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """(width, height) after the longest side is brought to ``longest_side``."""
    factor = longest_side / max(size)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def choose_image_size(samples: Sequence[Sample]) -> int:
    """A longest side, in pixels, at which the objects of the smallest class are still well visible; never above the pictures' own."""
    own = float(np.median([max(sample.size) for sample in samples]))
    sides: dict[int, list[float]] = {}
    for sample in samples:
        shares = np.sqrt(np.prod(sample.boxes[:, 2:] - sample.boxes[:, :2], axis=1)) / max(sample.size)
        for label, share in zip(sample.labels.tolist(), shares.tolist(), strict=True):
            sides.setdefault(label, []).append(share)
    smallest = min((float(np.median(shares)) for shares in sides.values()), default=1.0)
    wanted = float(np.clip(AUTO_OBJECT_PIXELS / smallest, min(own, SMALLEST_AUTO_SIZE), min(own, LARGEST_AUTO_SIZE)))
    return max(GRID, round(wanted / GRID) * GRID)


def canvas_for(samples: Sequence[Sample], image_size: int) -> tuple[int, int]:
    """(height, width), multiples of 32 and at least 64, that holds every picture at this size."""
    sizes = [scaled_size(sample.size, image_size) for sample in samples]
    width, height = max(size[0] for size in sizes), max(size[1] for size in sizes)
    return max(-(-height // GRID), 2) * GRID, max(-(-width // GRID), 2) * GRID


class PictureStore:
    """Labelled pictures at network size; kept in memory as far as they fit."""

    def __init__(self, samples: Sequence[Sample], image_size: int, class_count: int, cache_bytes: int = CACHE_BYTES) -> None:
        self.samples, self.image_size, self.class_count = list(samples), image_size, class_count
        self.canvas = canvas_for(samples, image_size)
        self._room = cache_bytes
        self._pictures: dict[int, tuple[ByteArray, float]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def get(self, index: int) -> tuple[ByteArray, FloatArray, IntArray]:
        """Picture (h, w, 3), boxes in its pixels, labels."""
        picture, factor = self._pictures.get(index) or self._load(index)
        return picture, self.samples[index].boxes * factor, self.samples[index].labels

    def augmented(self, index: int, seed: Sequence[int], how: Augmentation) -> tuple[ByteArray, FloatArray, IntArray]:
        """A picture of canvas size made from this one (and three others for a mosaic); the same for the same seed."""
        random = np.random.default_rng([*seed, index])
        if random.random() >= how.mosaic:
            return warp(self.get(index), self.canvas, random, how)
        others = random.integers(0, len(self), 3).tolist()
        return join_mosaic([warp(self.get(each), self.canvas, random, how) for each in (index, *others)], random)

    def _load(self, index: int) -> tuple[ByteArray, float]:
        loaded = read_picture(self.samples[index].path, self.image_size)
        if self._room > 0:
            self._room -= loaded[0].nbytes
            self._pictures[index] = loaded
        return loaded


Labelled = tuple[ByteArray, FloatArray, IntArray]


def warp(labelled: Labelled, canvas: tuple[int, int], random: np.random.Generator, how: Augmentation) -> Labelled:
    """The picture scaled, shifted and flipped at random onto a canvas (height, width); boxes hardly visible are left out."""
    picture, boxes, labels = labelled
    height, width = canvas
    factor = float(np.exp(random.uniform(-1, 1) * np.log1p(how.scale)))
    room = np.array([width - picture.shape[1] * factor, height - picture.shape[0] * factor])
    shift = room * (0.5 + 0.5 * random.uniform(-1, 1, 2)) + random.uniform(-1, 1, 2) * how.shift * np.array([width, height])
    inverse = (1 / factor, 0, -shift[0] / factor, 0, 1 / factor, -shift[1] / factor)
    moved = Image.fromarray(picture).transform(
        (width, height), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR, fillcolor=(GREY,) * 3
    )
    kept, visible = clip_boxes(boxes * factor + np.tile(shift, 2), (0, 0, width, height))
    return flip((np.asarray(moved), visible, labels[kept]), random, how)


def flip(labelled: Labelled, random: np.random.Generator, how: Augmentation) -> Labelled:
    """Mirrored, each way half of the time where it is allowed."""
    picture, boxes, labels = labelled
    height, width = picture.shape[:2]
    across, down = random.random(2) < 0.5
    if how.flip_horizontal and across:
        picture, boxes = picture[:, ::-1], np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    if how.flip_vertical and down:
        picture, boxes = picture[::-1], np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1)
    return picture, boxes, labels


def join_mosaic(four: Sequence[Labelled], random: np.random.Generator) -> Labelled:
    """Four pictures of one size cut at one point, each giving its own quarter."""
    height, width = four[0][0].shape[:2]
    x, y = int(width * random.uniform(0.3, 0.7)), int(height * random.uniform(0.3, 0.7))
    joined = four[0][0].copy()
    boxes, labels = [], []
    for (picture, its_boxes, its_labels), window in zip(
        four, [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)], strict=True
    ):
        left, top, right, bottom = window
        joined[top:bottom, left:right] = picture[top:bottom, left:right]
        kept, visible = clip_boxes(its_boxes, window)
        boxes.append(visible)
        labels.append(its_labels[kept])
    return joined, np.concatenate(boxes), np.concatenate(labels)


def clip_boxes(boxes: FloatArray, window: tuple[float, float, float, float]) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which boxes (n,) are still seen well enough inside x1 y1 x2 y2, and those (k, 4) cut to it."""
    low, high = np.array(window[:2], float), np.array(window[2:], float)
    clipped = np.concatenate([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], 1)
    sides = clipped[:, 2:] - clipped[:, :2]
    whole = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept = (np.prod(sides, axis=1) > LEAST_VISIBLE * whole) & (sides.min(axis=1, initial=np.inf) >= 2)
    return kept, clipped[kept]


def pad_together(pictures: Sequence[ByteArray]) -> ByteArray:
    """(n, H, W, 3): the pictures in the upper left of grey canvases, sides multiples of 32."""
    height = -(-max(picture.shape[0] for picture in pictures) // GRID) * GRID
    width = -(-max(picture.shape[1] for picture in pictures) // GRID) * GRID
    batch = np.full((len(pictures), height, width, 3), GREY, np.uint8)
    for row, picture in zip(batch, pictures, strict=True):
        row[: picture.shape[0], : picture.shape[1]] = picture
    return batch


def _read_sample(row: list[str], class_names: Sequence[str]) -> Sample | None:
    path = Path(row[0])
    try:
        with Image.open(path) as picture:
            size = picture.size
    except UNREADABLE as error:
        log(f"left out {path}: not a readable picture ({error})")
        return None
    sample = Sample(path, size, np.zeros((0, 4)), np.zeros(0, int))
    if len(row) < 2 or not row[1]:
        return sample
    boxes, labels = read_boxes(Path(row[1]), class_names)
    kept, inside = clip_boxes(boxes, (0, 0, *size))
    return replace(sample, boxes=inside, labels=labels[kept])


def _read_ark(path: Path, class_count: int) -> list[list[float]]:
    """Rows of class id and inclusive corners; further columns (quality, angle) are not used."""
    rows = [[float(cell) for cell in line.split(",")[:5]] for line in path.read_text().splitlines() if line.strip()]
    if any(len(row) != 5 for row in rows):
        raise ValueError("a line has fewer than five values")
    return [row for row in rows if 0 <= row[0] < class_count]


def _read_voc(path: Path, class_names: Sequence[str]) -> list[list[float]]:
    ids = {name.strip().lower(): float(index) for index, name in enumerate(class_names)}
    rows = []
    for thing in ET.parse(path).getroot().iter("object"):
        name = (thing.findtext("name") or "").strip().lower()
        box = thing.find("bndbox")
        if name in ids and box is not None:
            corners = [float(box.findtext(side) or "nan") for side in ("xmin", "ymin", "xmax", "ymax")]
            rows.append([ids[name], *corners])
    return rows

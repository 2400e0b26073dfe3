"""What the operator wants to know of picture files: the 14 data features, a hash, and a description for when no model gives an embedding.

Needs Pillow and the package ``analysis``, which an image carries beside this one where it measures pictures itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.features import KEYS, measure
from analysis.overlap import covered_shares
from analysis.pictures import PictureError, in_threads, open_picture
from mining.boxes import Boxes, Floats
from mining.hard_examples.parameters import DEFAULTS
from mining.hard_examples.reasons import BOX_FEATURES, FEATURES

#: What ``Looks.embeddings`` must be called: distances of different embedders cannot be compared.
EMBEDDER = "colour, gradients and thumbnail (classic-1)"
_SIDE, _CELLS, _ANGLES, _LEVELS, _THUMBNAIL = 64, 4, 8, 4, 8
#: Of a description.
DIMENSIONS = _LEVELS**3 + _CELLS**2 * _ANGLES + _THUMBNAIL**2 * 3


@dataclass(frozen=True)
class Looks:
    """n rows in each part, NaN (or 0 for a hash) where the picture cannot be read. ``errors``: row -> why.

    ``features`` (n, 14), ``box_features`` (b, 6) per picture, ``embeddings`` (n, 384) by ``EMBEDDER``, ``hashes`` (n,) uint64, ``sizes`` (n, 2)
    width and height.
    """

    features: Floats
    box_features: list[Floats]
    embeddings: Floats
    hashes: np.ndarray
    sizes: np.ndarray
    errors: dict[int, str]


def look_at(items: Iterable[tuple[Path, Boxes | None]], workers: int | None = None) -> Looks:
    """Measures the pictures with their boxes (None: none are known), on threads, each decoded once."""
    found = list(in_threads(_read, items, workers))
    errors = {row: str(one) for row, one in enumerate(found) if isinstance(one, PictureError)}
    return stack([one if isinstance(one, Look) else Look() for one in found], errors)


def stack(whole: Sequence[Look], errors: Mapping[int, str] | None = None) -> Looks:
    """Single looks as rows."""
    return Looks(
        np.array([one.features for one in whole], np.float64).reshape(-1, len(FEATURES)),
        [one.boxes for one in whole],
        np.array([one.embedding for one in whole], np.float64).reshape(-1, DIMENSIONS),
        np.array([one.hash for one in whole], np.uint64),
        np.array([one.size for one in whole], np.int64).reshape(-1, 2),
        dict(errors or {}),
    )


@dataclass(frozen=True)
class Look:
    """Of one picture, as a row of ``Looks``; as it stands, of one that cannot be read."""

    features: Floats = field(default_factory=lambda: np.full(len(FEATURES), np.nan))
    boxes: Floats = field(default_factory=lambda: np.zeros((0, len(BOX_FEATURES))))
    embedding: Floats = field(default_factory=lambda: np.full(DIMENSIONS, np.nan))
    hash: int = 0
    size: tuple[int, int] = (0, 0)


def look(picture: Image.Image, boxes: Boxes | None, low: float = DEFAULTS.score_threshold_low) -> Look:
    """What there is to know of a decoded picture of the mode RGB with its boxes.

    Boxes below the score ``low`` have values of their own, but the picture's number of boxes and the like are of the others: a detector reports dozens
    of faint boxes, which labels do not have. Where no boxes are known (None), their features are unknown, not those of no box.
    """
    known = Boxes() if boxes is None else boxes
    counted = np.flatnonzero(known.scores >= low)
    measured = measure(picture, _sides(known.corners), KEYS)
    of_boxes = np.column_stack([measured.boxes[key] for key in BOX_FEATURES])
    of_boxes[counted, BOX_FEATURES.index("bbox_iou")] = covered_shares(_sides(known.corners[counted]))
    features = np.array([measured.picture[key] for key in FEATURES])
    if len(counted) < len(known):
        features[_OF_BOXES] = _summed_up(of_boxes[counted])
    if boxes is None:
        features[_OF_BOXES] = np.nan
    return Look(features, of_boxes, describe(picture), measured.hash or 0, picture.size)


#: The places of the eight features that are about boxes: their number, the spread of their areas, then ``BOX_FEATURES``.
_OF_BOXES = slice(FEATURES.index("bbox_num"), len(FEATURES))


def _sides(corners: Floats) -> Floats:
    """(n, 4) x, y, width, height."""
    return np.column_stack([corners[:, :2], (corners[:, 2:] - corners[:, :2]).clip(min=0)])


def _summed_up(of_boxes: Floats) -> Floats:
    """(8,) as ``analysis.features`` has it: number, spread of the area ratios, then means of what is known; NaN without boxes."""
    areas = of_boxes[:, BOX_FEATURES.index("bbox_area_ratio")]
    known = np.isfinite(of_boxes)
    sums, counts = np.where(known, of_boxes, 0.0).sum(axis=0), known.sum(axis=0)
    means = np.divide(sums, counts, out=np.full(len(BOX_FEATURES), np.nan), where=counts > 0)
    return np.array([len(of_boxes), areas.std() if len(areas) else np.nan, *means])


def describe_boxes(picture: Image.Image, boxes: Boxes) -> Boxes:
    """The boxes with a description of what is inside of each as their ``features`` (n, 384); NaN of one without a pixel."""
    size = np.array([picture.width, picture.height, picture.width, picture.height])
    whole = np.rint(boxes.corners).clip(0, size).astype(np.int64)
    found = [describe(picture.crop(tuple(box))) if (box[2:] > box[:2]).all() else np.full(DIMENSIONS, np.nan) for box in whole]
    return Boxes(boxes.corners, boxes.scores, boxes.classes, boxes.probabilities, np.array(found).reshape(-1, DIMENSIONS))


def describe(picture: Image.Image) -> Floats:
    """(384,) of a picture of the mode RGB: colours (4 x 4 x 4 histogram), gradients (8 directions in 4 x 4 cells) and an 8 x 8 thumbnail, of length 1
    each.

    No model: it tells a night from a day and a cell from a street, not a cat from a dog. A grey field has no gradients and a thumbnail of zeros.
    """
    small = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    thumbnail = np.asarray(picture.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), np.float64)
    return np.concatenate(
        [_unit(np.sqrt(_colours(small))), _unit(np.sqrt(_gradients(small))), _unit((thumbnail - thumbnail.mean()).ravel())]
    )


def _colours(small: Floats) -> Floats:
    level = (small.reshape(-1, 3) * _LEVELS // 256).astype(np.int64)
    return np.bincount(level @ np.array([_LEVELS**2, _LEVELS, 1]), minlength=_LEVELS**3) / len(level)


def _gradients(small: Floats) -> Floats:
    down, across = np.gradient(small @ np.array([0.299, 0.587, 0.114]))
    strength = np.hypot(down, across)
    angle = (np.arctan2(down, across) % np.pi / np.pi * _ANGLES).astype(np.int64) % _ANGLES
    cell = np.arange(_SIDE) * _CELLS // _SIDE
    place = (cell[:, None] * _CELLS + cell[None, :]) * _ANGLES + angle
    histogram: Floats = np.bincount(place.ravel(), strength.ravel(), minlength=_CELLS**2 * _ANGLES).astype(np.float64)
    return histogram


def _unit(values: Floats) -> Floats:
    length = float(np.linalg.norm(values))
    return values / length if length > 0 else values


def _read(item: tuple[Path, Boxes | None]) -> Look | PictureError:
    try:
        return look(open_picture(item[0]), item[1])
    except PictureError as error:
        return error

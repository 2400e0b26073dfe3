"""The 14 data features of a picture and its boxes: the one place that says what brightness, clarity or overlap mean.

Reports, mining (``feature_distribution``) and the reasons of a hard example (codes 5 to 18) all take their values from here. The keys are those of
ModelArts' ``feature_op_config``; ``FEATURES`` says what each one is, in which unit and by which formula. Pixels are those of the file as
stored, in 8 bits; luma is ITU-R BT.601, ``0.299 R + 0.587 G + 0.114 B`` rounded to whole levels, as Pillow's mode ``L`` has it.

A picture is decoded once; the values, its hash (``analysis.near_duplicates``) and its thumbnail come out of the same pass, which walks over the
picture in strips that fit a processor's cache. Beside the decoded picture (4 bytes a pixel) it needs 2 bytes a pixel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.near_duplicates import hash_luma
from analysis.overlap import covered_shares
from analysis.pictures import PictureError, in_threads, open_picture, read_size

Floats = npt.NDArray[np.float64]
#: (n, 4) float: x, y, width, height in pixels, origin top left; ``x + width`` is the first column outside.
Boxes = npt.ArrayLike


@dataclass(frozen=True)
class Feature:
    """What one of the 14 keys stands for. ``of``: the value belongs to a picture or to each box. ``reason`` is the code of a hard example."""

    key: str
    title: str
    of: Literal["picture", "box"]
    unit: str
    formula: str
    reason: int
    needs_pixels: bool
    aliases: tuple[str, ...]


FEATURES: tuple[Feature, ...] = (
    Feature("image_resolution", "Resolution", "picture", "pixels", "width * height", 5, False, ("resolution", "area")),
    Feature("image_aspect_ratio", "Aspect ratio", "picture", "", "width / height", 6, False, ("aspect_ratio",)),
    Feature("image_brightness", "Brightness", "picture", "0 to 255", "mean luma", 7, True, ("brightness",)),
    Feature(
        "image_saturation", "Saturation", "picture", "0 to 1", "mean of S in HSV: (max - min) / max of R, G, B; 0 for black",
        8, True, ("saturation",),
    ),
    Feature(
        "image_colorfulness", "Colourfulness", "picture", "",
        "Hasler and Suesstrunk 2003: sqrt(var(R - G) + var((R + G) / 2 - B)) + 0.3 * sqrt(mean(R - G)^2 + mean((R + G) / 2 - B)^2)",
        9, True, ("colorfulness", "colourfulness", "image_colourfulness"),
    ),
    Feature(
        "ambiguity", "Clarity", "picture", "levels^2",
        "variance of the 3x3 Laplacian (0 1 0, 1 -4 1, 0 1 0) of the luma, mirrored at the border without repeating it; larger is sharper",
        10, True, ("clarity", "blur", "blur_score", "image_clarity", "sharpness"),
    ),
    Feature("bbox_num", "Boxes per picture", "picture", "boxes", "number of boxes", 11, False, ("box_count", "bbox_count")),
    Feature(
        "bbox_std", "Spread of box areas", "picture", "", "population standard deviation of box area / picture area; 0 for one box",
        12, False, ("box_area_std", "box_std"),
    ),
    Feature("bbox_aspect_ratio", "Box aspect ratio", "box", "", "width / height", 13, False, ("box_aspect_ratio",)),
    Feature("bbox_area_ratio", "Box area ratio", "box", "0 to 1", "box area / picture area", 14, False, ("box_area_ratio", "box_area")),
    Feature(
        "bbox_edge_value", "Box marginalisation", "box", "0 to 1", "distance of the box's centre from the picture's / half the picture's diagonal",
        15, False, ("marginalization", "marginalisation", "box_edge_value"),
    ),
    Feature("bbox_bright", "Box brightness", "box", "0 to 255", "mean luma of the pixels inside", 16, True, ("box_brightness",)),
    Feature(
        "bbox_ambiguity", "Box clarity", "box", "levels^2", "variance, over the pixels inside, of the picture's Laplacian",
        17, True, ("box_clarity", "box_blur", "box_blur_score"),
    ),
    Feature(
        "bbox_iou", "Box overlap", "box", "0 to 1", "part of the box that the union of the picture's other boxes covers (no IoU, whatever its key says)",
        18, False, ("box_overlap", "overlap"),
    ),
)  # fmt: skip
KEYS = tuple(feature.key for feature in FEATURES)
PICTURE_KEYS = tuple(feature.key for feature in FEATURES if feature.of == "picture")
BOX_KEYS = tuple(feature.key for feature in FEATURES if feature.of == "box")
#: What classification has: no boxes.
CLASSIFICATION_KEYS = KEYS[:6]
_PIXEL_KEYS = frozenset(feature.key for feature in FEATURES if feature.needs_pixels)
_BY_NAME = {name: feature for feature in FEATURES for name in (feature.key, *feature.aliases)}

#: Side of the thumbnail in pixels.
THUMBNAIL = 8
_STRIP_PIXELS = 65_536


@dataclass(frozen=True)
class Measured:
    """What was measured of one picture.

    ``picture`` has a value for every key asked for: of a box feature it is the mean over the boxes, NaN where there is no box. ``boxes``
    has the values of the box features, (n,) each, in the order of the boxes; NaN where a box has no such value: no height, or wholly outside of
    the picture. ``hash`` and ``thumbnail`` (8 x 8 x 3 uint8, row by row) are None when no pixels were needed.
    """

    width: int
    height: int
    picture: Mapping[str, float]
    boxes: Mapping[str, Floats] = field(default_factory=dict)
    hash: int | None = None
    thumbnail: bytes | None = None


def find_feature(name: str) -> Feature:
    """The feature of that key or alias. Raises ``ValueError`` that lists the known ones."""
    feature = _BY_NAME.get(name.strip().lower().replace("-", "_"))
    if feature is None:
        raise ValueError(f"there is no feature {name!r}; known: {', '.join(KEYS)}")
    return feature


def measure_files(
    items: Iterable[tuple[Path, Boxes]], keys: Collection[str] = KEYS, *, workers: int | None = None
) -> Iterator[Measured | PictureError]:
    """What was measured of each (file, boxes), in their order; in the place of a picture that cannot be read, the error that says why.

    Works on threads; holds a few pictures per thread at a time, however many there are.
    """

    def work(item: tuple[Path, Boxes]) -> Measured | PictureError:
        try:
            return measure_file(*item, keys)
        except PictureError as error:
            return error

    return in_threads(work, items, workers)


def measure_file(path: Path, boxes: Boxes = (), keys: Collection[str] = KEYS) -> Measured:
    """As ``measure``; a file of which no pixels are needed is not decoded. Raises ``PictureError``."""
    if _PIXEL_KEYS.isdisjoint(keys):
        width, height = read_size(path)
        return _measured(width, height, _checked(boxes), keys, {}, {})
    return measure(open_picture(path), boxes, keys)


def measure(picture: Image.Image, boxes: Boxes = (), keys: Collection[str] = KEYS) -> Measured:
    """The features ``keys`` of a decoded picture of the mode RGB."""
    checked = _checked(boxes)
    luma = picture.convert("L")
    pixels = _Pixels(picture, np.asarray(luma))
    of_boxes = pixels.box_values(checked) if len(checked) and not {"bbox_bright", "bbox_ambiguity"}.isdisjoint(keys) else {}
    thumbnail = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()
    return _measured(picture.width, picture.height, checked, keys, pixels.values, of_boxes, hash_luma(luma), thumbnail)


def _checked(boxes: Boxes) -> Floats:
    checked = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(checked).all() or (checked[:, 2:] < 0).any():
        raise ValueError("boxes must be finite numbers x, y, width, height with width and height not below 0")
    return checked


def _measured(
    width: int,
    height: int,
    boxes: Floats,
    keys: Collection[str],
    of_pixels: Mapping[str, float],
    of_boxes: Mapping[str, Floats],
    hash_: int | None = None,
    thumbnail: bytes | None = None,
) -> Measured:
    none = np.full(len(boxes), np.nan)
    values = {**_geometry(width, height, boxes), **{"bbox_bright": none, "bbox_ambiguity": none}, **of_boxes}
    if "bbox_iou" in keys:
        values["bbox_iou"] = covered_shares(boxes)
    areas = values["bbox_area_ratio"]
    picture = {
        "image_resolution": float(width * height),
        "image_aspect_ratio": width / height,
        "bbox_num": float(len(boxes)),
        "bbox_std": float(areas.std()) if len(areas) else np.nan,
        **of_pixels,
    }
    picture |= {key: _mean(values[key]) for key in BOX_KEYS if key in keys}
    return Measured(
        width, height, {k: picture[k] for k in KEYS if k in keys}, {k: values[k] for k in BOX_KEYS if k in keys}, hash_, thumbnail
    )


def _geometry(width: int, height: int, boxes: Floats) -> dict[str, Floats]:
    x, y, w, h = boxes.T
    with np.errstate(divide="ignore", invalid="ignore"):
        aspect = np.where(h > 0, w / h, np.nan)
    off_centre = np.hypot(x + w / 2 - width / 2, y + h / 2 - height / 2)
    return {
        "bbox_aspect_ratio": aspect,
        "bbox_area_ratio": w * h / (width * height),
        "bbox_edge_value": off_centre / (np.hypot(width, height) / 2),
    }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


class _Pixels:
    """One pass over the pixels. All sums are of whole numbers below 2^53, so exact; only saturation is summed in floating point."""

    def __init__(self, picture: Image.Image, luma: npt.NDArray[np.uint8]) -> None:
        self._luma = luma
        self._laplacian = np.empty(luma.shape, np.int16)
        count = luma.size
        sums = np.zeros(7)
        rows = max(1, _STRIP_PIXELS // picture.width)
        for top in range(0, picture.height, rows):
            bottom = min(picture.height, top + rows)
            _laplacian_of_rows(luma, top, bottom, self._laplacian[top:bottom])
            sums[:2] += _moments(self._laplacian[top:bottom])
            sums[2:] += _colour_sums(picture.crop((0, top, picture.width, bottom)))
        mean, mean_rg, mean_yb = sums[[0, 2, 4]] / count
        variance, variance_rg, variance_yb = np.maximum(sums[[1, 3, 5]] / count - np.array([mean, mean_rg, mean_yb]) ** 2, 0.0)
        # yb was summed doubled, so that it is whole: (R + G) - 2 B.
        spread, offset = np.sqrt(variance_rg + variance_yb / 4), np.hypot(mean_rg, mean_yb / 2)
        self.values = {
            "image_brightness": float(luma.mean(dtype=np.float64)),
            "image_saturation": float(sums[6] / count),
            "image_colorfulness": float(spread + 0.3 * offset),
            "ambiguity": float(variance),
        }

    def box_values(self, boxes: Floats) -> dict[str, Floats]:
        """Brightness and clarity inside each box: of the pixels whose centre lies in it, at least one where it touches the picture."""
        bright, clarity = np.full(len(boxes), np.nan), np.full(len(boxes), np.nan)
        for index, (left, top, right, bottom) in enumerate(_pixel_ranges(boxes, *self._luma.shape)):
            if left < right and top < bottom:
                bright[index] = self._luma[top:bottom, left:right].mean(dtype=np.float64)
                inside = self._laplacian[top:bottom, left:right]
                total, squares = _moments(inside)
                clarity[index] = max(0.0, squares / inside.size - (total / inside.size) ** 2)
        return {"bbox_bright": bright, "bbox_ambiguity": clarity}


def _pixel_ranges(boxes: Floats, height: int, width: int) -> list[list[int]]:
    """left, top, right, bottom of each box in whole pixels; left >= right or top >= bottom for one that is outside."""
    starts = np.floor(boxes[:, :2] + 0.5)
    ends = np.floor(boxes[:, :2] + boxes[:, 2:] + 0.5)
    touched = np.floor(boxes[:, :2])  # of a box that is too thin to hold a pixel's centre
    thin = ends <= starts
    starts, ends = np.where(thin, touched, starts), np.where(thin, touched + 1, ends)
    size = np.array([width, height])
    ranges = np.hstack([starts.clip(0, size), ends.clip(0, size)]).astype(np.int64)
    found: list[list[int]] = ranges.tolist()
    return found


def _laplacian_of_rows(luma: npt.NDArray[np.uint8], top: int, bottom: int, out: npt.NDArray[np.int16]) -> None:
    """Rows top..bottom of the Laplacian; beyond the border lies the mirror of what is inside of it (row -1 is row 1; a single row is its own)."""
    last = len(luma) - 1
    above = luma[[min(1, last)] if top == 0 else [top - 1]]
    below = luma[[max(0, last - 1)] if bottom == last + 1 else [bottom]]
    rows = np.concatenate([above, luma[top:bottom], below]).astype(np.int16)
    np.multiply(rows[1:-1], -4, out=out)
    out += rows[:-2]
    out += rows[2:]
    rows = rows[1:-1]
    out[:, 1:] += rows[:, :-1]
    out[:, :-1] += rows[:, 1:]
    width = rows.shape[1]
    out[:, 0] += rows[:, min(1, width - 1)]
    out[:, -1] += rows[:, max(0, width - 2)]


def _colour_sums(strip: Image.Image) -> Floats:
    """Sum and sum of squares of R - G, the same of R + G - 2 B, and the sum of the saturation."""
    red, green, blue = (np.asarray(plane) for plane in strip.split())
    rg = np.subtract(red, green, dtype=np.int16)
    yb = np.add(red, green, dtype=np.int16) - 2 * blue.astype(np.int16)
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    saturation = np.divide(most - least, np.maximum(most, 1), dtype=np.float32)
    return np.array([*_moments(rg), *_moments(yb), saturation.sum(dtype=np.float64)])


def _moments(values: npt.NDArray[np.int16]) -> tuple[float, float]:
    """Sum and sum of squares. Not by BLAS, which would start threads of its own in each of ours."""
    doubles = values.astype(np.float64).ravel()
    return float(doubles.sum()), float(np.einsum("i,i->", doubles, doubles))

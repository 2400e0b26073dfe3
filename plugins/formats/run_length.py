"""Outlines as COCO writes them: polygons, and run-length masks in both of their forms (pycocotools, maskApi.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugins.formats.values import BadValueError, read_number

_MOST_POLYGON_VALUES = 200_000
_MOST_PIXELS = 200_000_000


def read_segmentation(outline: Any) -> list[list[float]] | dict[str, Any]:
    """Polygons ``[[x1, y1, ...], ...]``, or ``{"counts": str, "size": [height, width]}``. Raises ``BadValueError``."""
    if isinstance(outline, dict):
        return _read_mask(outline)
    if not isinstance(outline, list) or not outline:
        raise BadValueError("segmentation is neither polygons nor a mask")
    polygons = outline if isinstance(outline[0], list) else [outline]
    return [_read_polygon(polygon) for polygon in polygons]


def segmentation_bounds(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """x, y, width, height around all polygons."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _read_polygon(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or len(polygon) > _MOST_POLYGON_VALUES:
        raise BadValueError("a polygon is not a list of at least three points")
    return [value if type(value) is float and -1e7 < value < 1e7 else read_number(value, "a polygon's coordinate") for value in polygon]


def _read_mask(mask: dict[str, Any]) -> dict[str, Any]:
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise BadValueError("a mask has no size")
    height, width = (int(read_number(side, "a mask's size")) for side in size)
    if height < 1 or width < 1 or height * width > _MOST_PIXELS:
        raise BadValueError(f"a mask of {width} x {height} pixels")
    if isinstance(counts, list):
        runs = [int(read_number(count, "a run of a mask")) if isinstance(count, (int, float)) else -1 for count in counts]
        counts = compress(runs) if all(run >= 0 for run in runs) and sum(runs) == height * width else None
    elif isinstance(counts, str) and sum(decompress(counts)) != height * width:
        counts = None
    if not isinstance(counts, str):
        raise BadValueError("the runs of a mask do not fill its size")
    return {"counts": counts, "size": [height, width]}


def compress(runs: Sequence[int]) -> str:
    """COCO's text form: from the fourth run on the difference to the run before the last, in groups of five bits."""
    text = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != -1 if group & 0x10 else value != 0
            text.append(chr((group | (0x20 if more else 0)) + 48))
    return "".join(text)


def decompress(text: str) -> list[int]:
    """The runs of a text mask. Raises ``BadValueError`` for characters or lengths that no mask has."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise BadValueError("the text of a mask is broken")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    if shift or any(run < 0 for run in runs):
        raise BadValueError("the text of a mask is broken")
    return runs

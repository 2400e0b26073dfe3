"""Masks as COCO has them: polygons and run-length dicts, by COCO's own code (pycocotools), so that areas and overlaps are the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.evaluation.objects import Flags, Floats, InputError

#: A picture of 100 megapixels: more is no mask but an attack on the memory.
LARGEST_PIXELS = 100_000_000


def to_mask(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """A compressed run-length dict of polygons ``[[x1, y1, ...], ...]`` or of a run-length dict, compressed or not.

    Raises ``InputError`` for anything else, for a mask of another size than the picture, and for one whose runs do not fill it.
    """
    from pycocotools import mask as coco_mask

    if not (height > 0 and width > 0 and height * width <= LARGEST_PIXELS):
        raise InputError(f"a mask of {width}x{height} pixels")
    if isinstance(segmentation, dict):
        return _read_runs(segmentation, height, width)
    rings = [_ring(ring) for ring in segmentation or ()]
    if not rings:
        raise InputError("a mask without polygons")
    merged: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
    return merged


def box_mask(box: Sequence[float], height: int, width: int) -> dict[str, Any]:
    """The mask of an object of which only the box is known: x y width height."""
    x, y, w, h = (float(value) for value in box)
    return to_mask([[x, y, x + w, y, x + w, y + h, x, y + h]], height, width)


def mask_area(mask: Any) -> int:
    """Pixels."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(mask))


def mask_overlap(found: Any, truths: Sequence[Any], crowd: Flags) -> Floats:
    """(t,) of one mask with each of some; with a crowd, its share that lies in it. 0 for masks of different size."""
    from pycocotools import mask as coco_mask

    if any(truth["size"] != found["size"] for truth in truths):
        raise InputError("masks of one picture have different sizes")
    overlap: Floats = np.asarray(coco_mask.iou([found], list(truths), crowd.astype(np.uint8)), np.float64).reshape(-1)
    return overlap


def to_pixels(mask: Any) -> Flags:
    """(height, width) of whether. Runs go down the columns, the first one outside the mask."""
    height, width = mask["size"]
    runs = _decoded(mask["counts"])
    pixels: Flags = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    return pixels


def _ring(ring: Any) -> list[float]:
    values = [float(value) for value in ring]
    if len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        raise InputError(f"a polygon of {len(values)} numbers")
    if max(map(abs, values)) > 1e6:  # pycocotools allocates by the length of the outline
        raise InputError("a polygon that leaves its picture by far")
    return values


def _read_runs(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """SECURITY: pycocotools trusts the counts; of runs that do not fill the picture it tells areas of billions, or reads beyond them."""
    from pycocotools import mask as coco_mask

    counts = segmentation.get("counts")
    if list(segmentation.get("size") or ()) != [height, width]:
        raise InputError(f"a mask of size {segmentation.get('size')} in a picture of [{height}, {width}]")
    runs = _decoded(counts) if isinstance(counts, (str, bytes)) else _whole(counts)
    if not runs or min(runs) < 0 or sum(runs) != height * width:
        raise InputError("the runs of a mask do not fill its picture")
    mask: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return mask


def _whole(counts: Any) -> list[int]:
    if not isinstance(counts, (list, tuple)) or not all(isinstance(count, int) for count in counts):
        raise InputError("a mask without runs")
    return list(counts)


def _decoded(counts: str | bytes) -> list[int]:
    """The runs of COCO's text (rleFrString): 5 bits a character, low first, with a sign; from the third on, the change against the last but one."""
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        code = byte - 48
        if not 0 <= code < 64 or shift > 60:
            raise InputError("the runs of a mask cannot be read")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise InputError("the runs of a mask cannot be read")
    return runs

"""Masks between the run-length forms of tools: COCO counts pixels column by column over the whole picture, others row by row or in a part of it.

Work and memory grow with the area of the part that holds the mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from plugins.formats.run_length import compress, decompress
from plugins.formats.values import BadValueError

#: Pixels of one mask's bounds that are converted.
MOST_PIXELS = 100_000_000
_RUNS = re.compile(rb"\x00+|\x01+")


def mask_bounds(mask: dict[str, Any]) -> tuple[int, int, int, int]:
    """x, y, width, height around the pixels of a COCO mask; 0, 0, 0, 0 when it has none."""
    height = int(mask["size"][0])
    spans = _spans(decompress(str(mask["counts"])))
    if not spans:
        return 0, 0, 0, 0
    left, right = spans[0][0] // height, (spans[-1][1] - 1) // height
    top, bottom = height, -1
    for start, end in spans:
        whole = start // height != (end - 1) // height
        top = min(top, 0 if whole else start % height)
        bottom = max(bottom, height - 1 if whole else (end - 1) % height)
    return left, top, right - left + 1, bottom - top + 1


def rows_of(mask: dict[str, Any]) -> tuple[bytes, tuple[int, int, int, int]]:
    """The pixels (0, 1) within the bounds of a COCO mask, row by row, and the bounds. Raises ``BadValueError`` for one that is too large."""
    x, y, width, height = mask_bounds(mask)
    if width * height > MOST_PIXELS:
        raise BadValueError(f"a mask of {width} x {height} pixels is not converted")
    full = int(mask["size"][0])
    columns = bytearray(width * height)
    for start, end in _spans(decompress(str(mask["counts"]))):
        for column in range(start // full, (end - 1) // full + 1):
            first, last = max(start, column * full) - column * full - y, min(end, (column + 1) * full) - column * full - y
            at = (column - x) * height
            columns[at + first : at + last] = b"\x01" * (last - first)
    return b"".join(columns[row::height] for row in range(height)), (x, y, width, height)


def mask_of(rows: bytes, bounds: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """A COCO mask of a picture of ``size`` (width, height) from the pixels (0, 1) in ``bounds``, row by row. Raises ``BadValueError``."""
    x, y, width, height = bounds
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > size[0] or y + height > size[1]:
        raise BadValueError(f"a mask of {width} x {height} at ({x}, {y}) leaves the picture of {size[0]} x {size[1]}")
    if len(rows) != width * height:
        raise BadValueError("the runs of a mask do not fill its size")
    spans: list[list[int]] = []
    for column in range(width):
        at = (x + column) * size[1] + y
        for found in _RUNS.finditer(rows[column::width]):
            if found[0][0] and spans and spans[-1][1] == at + found.start():
                spans[-1][1] = at + found.end()
            elif found[0][0]:
                spans.append([at + found.start(), at + found.end()])
    edges = [0, *(edge for span in spans for edge in span), size[0] * size[1]]
    return {"counts": compress([b - a for a, b in pairwise(edges)]), "size": [size[1], size[0]]}


def runs_of(rows: bytes) -> list[int]:
    """Lengths of runs, of 0 and 1 in turn, beginning with 0."""
    found = [match[0] for match in _RUNS.finditer(rows)]
    return [*([0] if found and found[0][0] else []), *map(len, found)]


def pixels_of(runs: Sequence[int], count: int) -> bytes:
    """The pixels of runs of 0 and 1 in turn. Raises ``BadValueError`` when they do not fill ``count`` pixels."""
    if count > MOST_PIXELS or any(run < 0 for run in runs) or sum(runs) != count:
        raise BadValueError("the runs of a mask do not fill its size")
    return b"".join((b"\x01" if index % 2 else b"\x00") * run for index, run in enumerate(runs))


def _spans(runs: Iterable[int]) -> list[tuple[int, int]]:
    """Beginnings and ends of the runs of 1."""
    ends = [0, *accumulate(runs)]
    return [(ends[index], ends[index + 1]) for index in range(1, len(ends) - 1, 2) if ends[index + 1] > ends[index]]

"""How much of each box the others cover."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
#: Cells of the grid that are held at a time.
_CELLS = 1 << 20


def covered_shares(boxes: Floats) -> Floats:
    """The part of each box that the union of the other boxes covers: (n,) in 0..1 for (n, 4) boxes x, y, width, height. 0 for a box without area.

    Exact: the edges of the boxes cut the plane into a grid, and inside a box every cell that two boxes or more cover is covered by another one.
    Takes (2 n)^2 steps, in blocks of columns, so that ten thousand boxes need no more memory than a thousand.
    """
    area = boxes[:, 2] * boxes[:, 3]
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    edges_x, left, right = _ranks(boxes[:, 0], boxes[:, 0] + boxes[:, 2])
    edges_y, top, bottom = _ranks(boxes[:, 1], boxes[:, 1] + boxes[:, 3])
    covered = np.zeros(len(boxes))
    begun = np.zeros(len(edges_y), np.int64)  # boxes that are open at the block's left edge, as differences along y
    columns = max(1, _CELLS // len(edges_y))
    for start in range(0, len(edges_x) - 1, columns):
        end = min(len(edges_x) - 1, start + columns)
        changes = np.zeros((end - start, len(edges_y)), np.int64)
        changes[0] = begun
        for at, sign in ((left, 1), (right, -1)):
            here = (start <= at) & (at < end)
            np.add.at(changes, (at[here] - start, top[here]), sign)
            np.add.at(changes, (at[here] - start, bottom[here]), -sign)
        changes = changes.cumsum(axis=0)
        begun = changes[-1]
        twice = changes.cumsum(axis=1)[:, :-1] > 1
        areas = np.zeros((end - start + 1, len(edges_y)))
        areas[1:, 1:] = twice * np.diff(edges_x[start : end + 1])[:, None] * np.diff(edges_y)
        areas = areas.cumsum(axis=0).cumsum(axis=1)
        x0, x1 = left.clip(start, end) - start, right.clip(start, end) - start
        covered += areas[x1, bottom] - areas[x0, bottom] - areas[x1, top] + areas[x0, top]
    return np.divide(covered, area, out=np.zeros(len(boxes)), where=area > 0).clip(0.0, 1.0)


def _ranks(starts: Floats, ends: Floats) -> tuple[Floats, _Ints, _Ints]:
    """The distinct edges in order, and the place of each box's two edges among them."""
    edges, places = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    places = places.ravel()
    return edges, places[: len(starts)], places[len(starts) :]

"""Greedy k-centre: again and again the point farthest from everything picked; float32 in blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mining.boxes import Floats, Ints
from mining.pool import Embeddings

#: Rows of points per matrix product when distances to many centres are asked.
BLOCK = 8192


def squared_norms(points: Embeddings) -> Floats:
    """(n,) squared lengths, added up in float64."""
    norms: Floats = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    return norms


def nearest_squared(points: Embeddings, centres: Embeddings) -> Floats:
    """(n,) squared distance of points (n, d) to the nearest of centres (m, d); inf without centres. O(n m d), blocks of BLOCK x BLOCK."""
    nearest = np.full(len(points), np.inf)
    centre_norms = squared_norms(centres)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        own = squared_norms(points[part])
        for first in range(0, len(centres), BLOCK):
            some = slice(first, first + BLOCK)
            distances = own[:, None] + centre_norms[None, some] - 2.0 * (points[part] @ centres[some].T)
            nearest[part] = np.minimum(nearest[part], distances.min(axis=1))
    return np.maximum(nearest, 0.0)


def greedy(
    points: Embeddings, count: int, nearest: Floats, value: Callable[[Floats], Floats] = lambda distances: distances
) -> tuple[Ints, Floats, Floats]:
    """Picks ``count`` rows, each time the one with the highest value; ties go to the lowest row.

    ``points`` (n, d) float32; ``nearest`` (n,) squared distances to what is there already (finite; changed in place); ``value`` turns nearest
    squared distances (n,) into what is to be highest (default: themselves). Returns rows (k,), their values when picked (k,), and their squared
    distances when picked (k,). O(n k d) time, O(n) memory beside the points.
    """
    norms = squared_norms(points).astype(np.float32)
    taken = np.zeros(len(points), bool)
    count = min(count, len(points))
    rows, values, distances = np.zeros(count, np.int64), np.zeros(count), np.zeros(count)
    for step in range(count):
        worth = np.where(taken, -np.inf, value(nearest))
        row = int(np.argmax(worth))
        rows[step], values[step], distances[step] = row, worth[row], nearest[row]
        taken[row] = True
        np.minimum(nearest, np.maximum(norms + norms[row] - 2.0 * (points @ points[row]), 0.0), out=nearest)
        nearest[row] = 0.0
    return rows, values, distances

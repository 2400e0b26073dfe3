"""Greedy k-centre: again and again the point farthest from everything picked; float32 in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mining.boxes import Floats, Ints
from mining.pool import Embeddings

#: Rows of points per matrix product when distances to many centres are asked.
BLOCK = 4096
#: Share of the squared lengths of two points below which their squared distance, in float32, is rounding.
NOTHING = np.float32(2e-6)


def squared_norms(points: Embeddings) -> Floats:
    """(n,) squared lengths, added up in float64, in blocks."""
    norms = np.zeros(len(points))
    for start in range(0, len(points), BLOCK):
        part = points[start : start + BLOCK].astype(np.float64)
        norms[start : start + BLOCK] = np.einsum("ij,ij->i", part, part)
    return norms


def length_one(points: Embeddings) -> Embeddings:
    """The rows (n, d) with length 1; rows of zeros stay."""
    lengths = np.sqrt(squared_norms(points))
    scale = 1.0 / np.where(lengths > 0, lengths, 1.0)
    result: Embeddings = points * scale[:, None].astype(np.float32)
    return result


def centred(points: Embeddings, others: Embeddings | None) -> tuple[Embeddings, Embeddings | None]:
    """Both less the mean of the points: distances stay, and float32 keeps more of them where the mean is long."""
    if not len(points):
        return points, others
    middle = points.mean(axis=0, dtype=np.float64).astype(np.float32)
    return points - middle, None if others is None else others - middle


def squared_between(left: Embeddings, left_norms: Floats, right: Embeddings, right_norms: Floats) -> Any:
    """(n, m) squared distances by |x|^2 + |y|^2 - 2 x.y, at least 0."""
    distances = left @ right.T
    distances *= -2.0
    distances += left_norms[:, None].astype(np.float32)
    distances += right_norms[None, :].astype(np.float32)
    return np.maximum(distances, 0.0, out=distances)


def nearest_squared(points: Embeddings, centres: Embeddings) -> Floats:
    """(n,) squared distance of points (n, d) to the nearest of centres (m, d); inf without centres. O(n m d), memory BLOCK^2."""
    nearest = np.full(len(points), np.inf)
    norms, own = squared_norms(centres), squared_norms(points)
    for part in _blocks(len(points)):
        for some in _blocks(len(centres)):
            distances = squared_between(points[part], own[part], centres[some], norms[some])
            nearest[part] = np.minimum(nearest[part], distances.min(axis=1))
    return nearest


def mean_nearest(points: Embeddings, others: Embeddings, count: int) -> Floats:
    """(n,) mean distance of points (n, d) to the ``count`` nearest of others (m, d), m > 0. O(n m d), memory BLOCK x m."""
    result, norms, own = np.zeros(len(points)), squared_norms(others), squared_norms(points)
    count = min(count, len(others))
    for part in _blocks(len(points)):
        squared = squared_between(points[part], own[part], others, norms)
        result[part] = np.sqrt(np.partition(squared, count - 1, axis=1)[:, :count]).mean(axis=1)
    return result


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


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
        np.minimum(nearest, squared_to(points, norms, row), out=nearest)
        nearest[row] = 0.0
    return rows, values, distances


def squared_to(points: Embeddings, norms: Any, row: int) -> Any:
    """(n,) float32 squared distances of points to the one at ``row``; ``norms`` (n,) float32 are the squared lengths."""
    distances = points @ points[row]
    distances *= -2.0
    distances += norms
    distances += norms[row]
    # What rounding leaves of the distance of equal points is no distance: equal points stay equal, and ties go by row.
    distances[distances < NOTHING * (norms + norms[row])] = 0.0
    return distances

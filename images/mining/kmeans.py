"""k-means (Lloyd's iterations after k-means++), float32 in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mining import kcenter, seeding
from mining.boxes import Floats, Ints
from mining.pool import Embeddings

#: Share of the inertia by which an iteration must improve it for another to follow.
_SETTLED = 1e-4
#: First centres are looked for among at least this many points, or 20 per cluster.
_SAMPLE = 10_000
#: Points times iterations.
_POINTS_IN_ALL = 3_000_000


@dataclass(frozen=True)
class Clusters:
    """``labels`` (n,) the cluster of each point, ``centres`` (k, d), ``inertia`` the sum of squared distances to the own centre."""

    labels: Ints
    centres: Embeddings
    inertia: float


def cluster(points: Embeddings, count: int, generator: np.random.Generator, runs: int = 1) -> Clusters:
    """At most ``count`` clusters of points (n, d), n > 0: the best of ``runs``. O(n k d) an iteration, O(n) memory beside the points and a block.

    At most 100 iterations, fewer for more than 30,000 points: where there are many, the first ones settle nearly all.
    """
    iterations = max(10, min(100, _POINTS_IN_ALL // len(points)))
    return min((_run(points, min(count, len(points)), generator, iterations) for _ in range(runs)), key=lambda found: found.inertia)


def _run(points: Embeddings, count: int, generator: np.random.Generator, iterations: int) -> Clusters:
    centres = _first_centres(points, count, generator)
    labels, squared = _nearest(points, centres)
    for _ in range(iterations):
        centres = _means(points, labels, squared, count)
        before = squared.sum()
        new, squared = _nearest(points, centres)
        settled = np.array_equal(new, labels) or squared.sum() > before * (1.0 - _SETTLED)
        labels = new
        if settled:
            break
    return Clusters(labels, centres, float(squared.sum()))


def _first_centres(points: Embeddings, count: int, generator: np.random.Generator) -> Embeddings:
    """(count, d) by greedy k-means++ among a sample of the points."""
    size = max(_SAMPLE, 20 * count)
    some = points if len(points) <= size else points[np.sort(generator.choice(len(points), size, replace=False))]
    norms = kcenter.squared_norms(some).astype(np.float32)
    first = int(generator.integers(len(some)))
    trials = 2 + int(np.log(count))
    return some[seeding.draw(count, first, lambda row: kcenter.squared_to(some, norms, row), generator, trials).rows]


def _nearest(points: Embeddings, centres: Embeddings) -> tuple[Ints, Floats]:
    """(n,) nearest centre and (n,) its squared distance."""
    labels, squared = np.zeros(len(points), np.int64), np.zeros(len(points))
    norms = kcenter.squared_norms(centres)
    for start in range(0, len(points), kcenter.BLOCK):
        part = points[start : start + kcenter.BLOCK]
        distances: Any = kcenter.squared_norms(part)[:, None] + norms[None] - 2.0 * (part @ centres.T)
        best = np.argmin(distances, axis=1)
        labels[start : start + kcenter.BLOCK] = best
        squared[start : start + kcenter.BLOCK] = np.maximum(distances[np.arange(len(part)), best], 0.0)
    return labels, squared


def _means(points: Embeddings, labels: Ints, squared: Floats, count: int) -> Embeddings:
    """(count, d) means; a cluster that lost all its points moves to the point that lies worst."""
    sizes = np.bincount(labels, minlength=count)
    order = np.argsort(labels, kind="stable")
    full = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])[full]
    means = np.zeros((count, points.shape[1]), np.float32)
    means[full] = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64) / sizes[full, None]
    empty = np.flatnonzero(sizes == 0)
    means[empty] = points[np.argsort(-squared, kind="stable")[: len(empty)]]
    return means

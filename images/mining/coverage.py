"""Core-set: pictures that lie far from everything labelled and from each other."""

from __future__ import annotations

import numpy as np

from mining import kcenter
from mining.boxes import Floats
from mining.pool import Embeddings
from mining.selection import Ranking
from mining.strategy import Parameter, Request, Strategy


def start_distances(points: Embeddings, labelled: Embeddings | None) -> Floats:
    """(n,) squared distances to the labelled embeddings; without any, to the middle of the points (so the first pick is the farthest from it)."""
    if labelled is not None and len(labelled):
        return kcenter.nearest_squared(points, labelled)
    middle = points.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32) if len(points) else points
    return kcenter.nearest_squared(points, middle)


class CoreSet(Strategy):
    """k-centre greedy on embeddings, seeded by the labelled set: the score is the distance to the nearest labelled or picked one when picked.

    points (n, d) float32. O(n (m + b) d) time for m labelled and b picked, O(n) memory beside the points.
    """

    name = "core_set"
    needs = frozenset({"embeddings"})
    source = "Sener & Savarese, ICLR 2018"

    def rank(self, request: Request) -> Ranking:
        points = request.pool.embeddings
        assert points is not None
        nearest = start_distances(points, request.pool.labelled.embeddings)
        rows, _, squared = kcenter.greedy(points, request.budget, nearest)
        rest = np.setdiff1d(np.arange(len(points)), rows)
        rest = rest[np.argsort(-nearest[rest], kind="stable")]
        order = np.concatenate([rows, rest]).astype(np.int64)
        scores = np.sqrt(np.concatenate([squared, nearest[rest]]))
        at = dict(zip(rows.tolist(), np.sqrt(squared).tolist(), strict=True))
        return Ranking(order, np.minimum.accumulate(scores) if len(scores) else scores, lambda row: _far(at.get(row)))


def _far(distance: float | None) -> tuple[str, ...]:
    return () if distance is None else (f"far from everything labelled and picked (distance {distance:.2f})",)

"""Core-set: pictures that lie far from everything labelled and from each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from mining import kcenter
from mining.boxes import Floats, Ints
from mining.chance import chances
from mining.ordering import lifted
from mining.pool import Embeddings
from mining.selection import Ranking
from mining.strategy import Parameter, Request, Strategy

#: Pictures among which the density of a picture is measured: a sample is enough to tell what lies alone.
_DENSITY_SAMPLE = 4096
_DENSITY_NEIGHBOURS = 5


def start_distances(points: Embeddings, labelled: Embeddings | None) -> Floats:
    """(n,) squared distances to the labelled embeddings; without any, to the middle of the points (so the first pick is the farthest from it)."""
    if labelled is not None and len(labelled):
        return kcenter.nearest_squared(points, labelled)
    middle = points.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32) if len(points) else points
    return kcenter.nearest_squared(points, middle)


class CoreSet(Strategy):
    """k-centre greedy on embeddings, seeded by the labelled set: the score is the distance to the nearest labelled or picked one when picked.

    Points that lie alone would come first, so the ``outliers`` share with the largest distance to its neighbours waits until the rest is picked.
    points (n, d) float32. O(n (m + b) d) time for m labelled and b picked, O(n) memory beside the points.
    """

    name = "core_set"
    needs = frozenset({"embeddings"})
    source = "Sener & Savarese, ICLR 2018"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "outliers": Parameter(0.0, "share of the pool that lies alone most and is picked last", least=0.0, most=0.5),
        "normalise": Parameter(False, "whether embeddings are scaled to length 1 first"),
    }

    def rank(self, request: Request) -> Ranking:
        points, labelled = request.pool.points, request.pool.labelled.embeddings
        if request.parameters["normalise"]:
            points, labelled = kcenter.length_one(points), None if labelled is None else kcenter.length_one(labelled)
        points, labelled = kcenter.centred(points, labelled)
        alone = outliers(points, request.pool.ids, request.parameters["outliers"])
        request.report["outliers"] = [request.pool.ids[row] for row in alone.tolist()]
        return spread_out(points, start_distances(points, labelled), alone, request.budget)


def spread_out(points: Embeddings, nearest: Floats, alone: Ints, budget: int) -> Ranking:
    """k-centre greedy over all rows but ``alone``, which follow the picks among the rest, by distance; ``nearest`` is changed."""
    open_rows = np.setdiff1d(np.arange(len(points)), alone)
    own = nearest[open_rows]
    rows, _, squared = kcenter.greedy(points if not len(alone) else points[open_rows], budget, own)
    nearest[open_rows] = own
    picked = open_rows[rows]
    rest = np.setdiff1d(open_rows, picked)
    rest = np.concatenate([rest[np.argsort(-nearest[rest], kind="stable")], alone[np.argsort(-nearest[alone], kind="stable")]])
    scores = np.sqrt(np.concatenate([squared, nearest[rest]]))
    at = dict(zip(picked.tolist(), np.sqrt(squared).tolist(), strict=True))
    order = np.concatenate([picked, rest]).astype(np.int64)
    return Ranking(order, lifted(scores), lambda row: (far(at.get(row)),))


def outliers(points: Embeddings, ids: object, share: float) -> Ints:
    """Rows, rising: the ``share`` of points (n, d) with the largest mean distance to their 5 nearest in a sample. O(n 4096 d)."""
    count = int(share * len(points))
    if not count:
        return np.zeros(0, np.int64)
    sample = np.sort(np.argsort(chances(ids, 0, "density"), kind="stable")[:_DENSITY_SAMPLE])  # type: ignore[arg-type]
    distances = kcenter.mean_nearest(points, points[sample], _DENSITY_NEIGHBOURS + 1)
    return np.sort(np.argsort(-distances, kind="stable")[:count]).astype(np.int64)


def far(distance: float | None) -> str:
    """Why a picture was picked that lies far from the others."""
    return (
        "far from everything labelled and picked"
        if distance is None
        else f"far from everything labelled and picked (distance {distance:.2f})"
    )

"""TypiClust: the most typical picture of each part of the pool that has no label yet; for the very first labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mining import kcenter, kmeans, seeding
from mining.boxes import Floats, Ints
from mining.ordering import picks_then_rest
from mining.pool import Embeddings
from mining.selection import Ranking, Reason
from mining.strategy import Parameter, Request, Strategy

#: Neighbours of a point are looked for among at most this many of its cluster.
_MOST_NEIGHBOURS = 4096


class TypiClust(Strategy):
    """k-means of labelled and candidates into min(labelled + budget, ``max_clusters``); clusters with the fewest labelled first, then the largest; from
    each the densest candidate: 1 / mean distance to its ``neighbours`` nearest in the cluster. Round after round until the budget is full.

    Clusters below ``least_size`` come last (the official code drops them). points (n, d) float32. O(n K d) an iteration, O(n^2 d / K) for the neighbours.
    """

    name = "typiclust"
    needs = frozenset({"embeddings"})
    source = "Hacohen et al., ICML 2022, arXiv 2202.02794"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "max_clusters": Parameter(500, "the most clusters that are made", least=1),
        "neighbours": Parameter(20, "nearest neighbours that say how typical a picture is", least=1),
        "least_size": Parameter(6, "clusters of fewer pictures come last", least=0),
        "runs": Parameter(1, "k-means runs, of which the best counts", least=1, most=100),
    }

    def rank(self, request: Request) -> Ranking:
        found = typical(request.pool.points, request.pool.labelled.embeddings, request)
        return picks_then_rest(found.rows, seeding.falling_values(len(found.rows)), found.density, found.reason)


@dataclass(frozen=True)
class Typical:
    """``rows`` (k,) picked, in order; ``density`` (n,) of all points; the reason of a row."""

    rows: Ints
    density: Floats
    reason: Reason


def typical(points: Embeddings, labelled: Embeddings | None, request: Request) -> Typical:
    """The budget's most typical of points (n, d), covering first what has no label. Parameters that the request does not have are TypiClust's own."""
    settings = {name: request.parameters.get(name, known.default) for name, known in TypiClust.parameters.items()}
    known = points[:0] if labelled is None else labelled
    count = min(len(known) + request.budget, settings["max_clusters"])
    generator = np.random.default_rng(request.seed)
    found = kmeans.cluster(np.concatenate([known, points]), max(1, count), generator, settings["runs"])
    labels, covered = found.labels[len(known) :], np.bincount(found.labels[: len(known)], minlength=len(found.centres))
    density = typicality(points, labels, settings["neighbours"])
    sizes = np.bincount(labels, minlength=len(found.centres))
    rows = rounds(labels, density, covered, sizes, settings["least_size"], request.budget)
    request.report["clusters"] = len(found.centres)

    def reason(row: int) -> tuple[str, ...]:
        cluster = labels[row]
        state = "that has no label yet" if not covered[cluster] else f"with {covered[cluster]} labelled"
        return (f"typical of a group of {sizes[cluster]} similar pictures {state}",)

    return Typical(rows, density, reason)


def typicality(points: Embeddings, labels: Ints, neighbours: int) -> Floats:
    """(n,) 1 / mean distance to the nearest ``neighbours`` (at most half the cluster) of the same cluster; 0 for a point alone."""
    result = np.zeros(len(points))
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(rows) > 1:
            result[rows] = _density(points[rows], min(neighbours, max(1, len(rows) // 2)))
    return result


def _density(points: Embeddings, neighbours: int) -> Floats:
    others = points[:: -(-len(points) // _MOST_NEIGHBOURS)]
    neighbours = min(neighbours, len(others) - 1) or 1
    norms, result = kcenter.squared_norms(others), np.zeros(len(points))
    for start in range(0, len(points), _MOST_NEIGHBOURS):
        part = points[start : start + _MOST_NEIGHBOURS]
        squared = kcenter.squared_norms(part)[:, None] + norms[None] - 2.0 * (part @ others.T)
        # The nearest of all is the point itself.
        nearest = np.partition(np.maximum(squared, 0.0), neighbours, axis=1)[:, : neighbours + 1]
        mean = np.sort(np.sqrt(nearest), axis=1)[:, 1:].mean(axis=1)
        result[start : start + len(part)] = 1.0 / (mean + 1e-5)
    return result


def rounds(labels: Ints, density: Floats, covered: Ints, sizes: Ints, least_size: int, budget: int) -> Ints:
    """(k,) rows: round after round the next densest of each cluster, clusters in the order fewest labelled, largest; small ones at the end."""
    inside = np.lexsort((np.arange(len(labels)), -density, labels))
    place = np.empty(len(labels), np.int64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=len(sizes)))])
    place[inside] = np.arange(len(labels)) - starts[labels[inside]]
    small = sizes[labels] < least_size
    # The picture at place k of a cluster has k picked ones before it: they cover it as labelled ones do.
    order = np.lexsort((np.arange(len(labels)), labels, -sizes[labels], covered[labels], place, small))
    return order[:budget].astype(np.int64)

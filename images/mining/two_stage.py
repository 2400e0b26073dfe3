"""The default: unsure pictures first, rare classes weighed up, then those of them that differ from what is labelled and from each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mining import doubt, kcenter
from mining.boxes import Boxes, Floats
from mining.coverage import start_distances
from mining.empties import fill_empty
from mining.ordering import falling, picks_then_rest, unit
from mining.pool import Embeddings, Pool
from mining.selection import Ranking
from mining.strategy import Parameter, Request, Strategy
from mining.uncertainty import AGGREGATION, aggregate, among


def class_weights(pool: Pool) -> Floats | None:
    """(C,) (mean count / count_c)^0.5 of the labelled objects; None where the counts are not known. A class without labels counts as one label."""
    counts = pool.labelled.class_counts
    if counts is None or not len(counts):
        return None
    known = np.maximum(np.asarray(counts, float), 1.0)
    weights: Floats = np.sqrt(known.mean() / known)
    return weights


def length_one(points: Embeddings) -> Embeddings:
    """The rows (n, d) with length 1; rows of zeros stay."""
    lengths = np.sqrt(kcenter.squared_norms(points))[:, None]
    return (points / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


class Default(Strategy):
    """Class-balanced uncertainty keeps ``pool_factor`` x budget; greedy diversity picks among them the highest score x squared distance."""

    name = "default"
    needs = frozenset({"predictions"})
    source = "after PPAL (Yang et al., CVPR 2024, arXiv 2211.11612) and Brust et al. (arXiv 1809.09875)"
    parameters = {
        **AGGREGATION,
        "aggregation": Parameter("sum", "how the boxes of a picture become one number", choices=("mean", "mean_topk", "sum", "max")),
        "pool_factor": Parameter(4.0, "how many times the budget the first stage keeps", least=1.0),
    }

    def rank(self, request: Request) -> Ranking:
        pool, parameters = request.pool, request.parameters
        scores = self.score(pool, parameters)
        filled = fill_empty(scores, parameters["empty"], request)
        kept = falling(filled)[: int(np.ceil(parameters["pool_factor"] * request.budget))]
        rows, values = kept, unit(filled[kept])
        if pool.embeddings is None:
            request.skipped.append("diversity: the pool has no embeddings, so similar pictures may be picked together")
            rows, values = kept[: request.budget], values[: request.budget]
        else:
            rows, values = _diverse(np.sort(kept), filled, pool, request.budget)
        place = unit(filled)
        return picks_then_rest(rows, values, place, lambda row: (f"doubt {filled[row]:.2f}, {among(float((filled > filled[row]).mean()))}",))

    def score(self, pool: Pool, parameters: Mapping[str, Any]) -> Floats:
        """(n,) class-balanced doubt, NaN for a picture without boxes."""
        weights = class_weights(pool)
        if pool.predictions is None:
            assert pool.probabilities is not None
            scores = doubt.categorical_entropy(pool.probabilities)
            return scores if weights is None else scores * (pool.probabilities @ weights)
        return np.array([_of_picture(boxes, weights, parameters) for boxes in pool.predictions], float)


def _of_picture(boxes: Boxes, weights: Floats | None, parameters: Mapping[str, Any]) -> float:
    seen = boxes.at_least(parameters["least_score"])
    if not len(seen):
        return float("nan")
    doubts = doubt.binary_entropy(seen.scores)
    return aggregate(doubts if weights is None else doubts * weights[seen.classes], parameters)


def _diverse(kept: Any, filled: Floats, pool: Pool, budget: int) -> tuple[Any, Floats]:
    assert pool.embeddings is not None
    points = length_one(pool.embeddings[kept])
    labelled = pool.labelled.embeddings
    nearest = start_distances(points, None if labelled is None else length_one(labelled))
    worth = filled[kept] - min(0.0, float(filled[kept].min())) if len(kept) else filled[kept]
    rows, values, _ = kcenter.greedy(points, budget, nearest, lambda distances: worth * distances)
    return kept[rows], np.minimum.accumulate(values) if len(values) else values

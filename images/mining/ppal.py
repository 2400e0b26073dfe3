"""PPAL: difficult and unsure pictures, then those of them whose objects look different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mining import doubt, seeding
from mining.boxes import Boxes, Floats, iou
from mining.ordering import picks_then_rest
from mining.pool import Pool
from mining.selection import Ranking
from mining.staged import NOTHING_FOUND, Scored, Staged, Standing
from mining.strategy import DETECTION, Parameter, Request
from mining.uncertainty import AGGREGATION, aggregate, unsure

#: Strength of the class weights: 1 for an easy class, 1 + A B / A at difficulty 1.
_A, _B = 0.3, 0.2
_MOST_BOXES = 100
#: Distance of a box to a picture that shows nothing of its class: the largest a cosine distance can be.
_UNLIKE = 2.0


class Ppal(Staged):
    """Stage 1 (DCUS): sum over boxes of w_c x binary entropy, w_c = 1 + a b ln(1 + (e^(1/a) - 1) d_c), a = .3, b = .2; keeps ``pool_factor`` x budget.

    d_c is ``Labelled.class_difficulty`` (see ``class_difficulty``); without it all classes count the same, and the report says so. Stage 2 (CCMS):
    k-means++ under the distance of two pictures: for each box the smallest cosine distance to a box of the same class in the other, 2 where there
    is none, mean weighted by score, mean of both directions. It starts with the highest score (the official code draws); two pictures
    without boxes are at distance 0. Pictures have at most 100 boxes there, by score. O(b M D^2 d) for M kept pictures of D boxes.
    """

    name = "ppal"
    needs = frozenset({"predictions", "features"})
    uses = frozenset({"labelled"})
    source = "Yang et al., CVPR 2024, arXiv 2211.11612"
    kinds = (DETECTION,)
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **AGGREGATION,
        "aggregation": Parameter("sum", AGGREGATION["aggregation"].help, choices=AGGREGATION["aggregation"].choices),
        "pool_factor": Parameter(4.0, "how many times the budget stage 1 keeps", least=1.0),
    }

    def keep(self, budget: int, parameters: Mapping[str, Any]) -> int:
        return int(np.ceil(parameters["pool_factor"] * budget))

    def score(self, pool: Pool, request: Request) -> Floats:
        assert pool.predictions is not None
        difficulty = pool.labelled.class_difficulty
        weights = None if difficulty is None else difficulty_weights(np.asarray(difficulty, float))
        return np.array([_difficult_doubt(boxes, weights, request.parameters) for boxes in pool.predictions], float)

    def choose(self, scored: Scored, request: Request) -> Ranking:
        pool = scored.pool
        if pool.labelled.class_difficulty is None:
            request.skipped.append("class difficulty: not measured on labelled pictures, so all classes count the same")
        kept = scored.best(self.keep(request.budget, request.parameters))
        predictions = pool.predictions or ()
        objects = Objects([_strongest(predictions[row], request.parameters["least_score"]) for row in kept.tolist()])
        generator = np.random.default_rng(request.seed)
        picked = (
            seeding.draw(request.budget, 0, objects.distances, generator).rows[: request.budget] if len(kept) else np.zeros(0, np.int64)
        )
        standing = Standing(scored.filled)

        def reason(row: int) -> tuple[str, ...]:
            if np.isnan(scored.scores[row]):
                return NOTHING_FOUND
            words = unsure(float(scored.scores[row]), standing.of(row), request.parameters, DETECTION)
            return (words, "its objects look unlike those picked before")

        rows = scored.rows[kept[picked]] if len(picked) else np.zeros(0, np.int64)
        return picks_then_rest(rows, seeding.falling_values(len(picked)), scored.filled, reason)


def difficulty_weights(difficulty: Floats) -> Floats:
    """(C,) w_c of difficulties (C,) in [0, 1]: 1 at 0, 1 + b at 1."""
    weights: Floats = 1.0 + _A * _B * np.log1p(np.expm1(1.0 / _A) * np.clip(difficulty, 0.0, 1.0))
    return weights


def class_difficulty(predictions: Sequence[Boxes], truths: Sequence[Boxes], class_count: int) -> Floats:
    """(C,) mean of 1 - score^.6 IoU^.4 over the labelled objects, each with the best prediction of its class; 1 where nothing met it.

    The paper averages this over training; measured once on the labelled pictures it needs no hook in the trainer. A class without objects: 1.
    """
    total, count = np.zeros(class_count), np.zeros(class_count)
    for found, wanted in zip(predictions, truths, strict=True):
        easy = np.where(
            wanted.classes[:, None] == found.classes[None, :], found.scores[None, :] ** 0.6 * iou(wanted.corners, found.corners) ** 0.4, 0.0
        )
        best = easy.max(axis=1) if len(found) else np.zeros(len(wanted))
        np.add.at(total, wanted.classes, 1.0 - best)
        np.add.at(count, wanted.classes, 1)
    difficulty: Floats = np.where(count > 0, total / np.maximum(count, 1), 1.0)
    return difficulty


def _difficult_doubt(boxes: Boxes, weights: Floats | None, parameters: Mapping[str, Any]) -> float:
    seen = boxes.at_least(parameters["least_score"])
    if not len(seen):
        return float("nan")
    doubts = doubt.binary_entropy(seen.scores)
    return aggregate(doubts if weights is None else doubts * weights[seen.classes], parameters)


def _strongest(boxes: Boxes, least_score: float) -> Boxes:
    seen = boxes.at_least(least_score)
    return seen.keep(np.argsort(-seen.scores, kind="stable")[:_MOST_BOXES].astype(np.int64))


class Objects:
    """The boxes of M pictures, one after the other, for distances of one picture to all."""

    def __init__(self, pictures: Sequence[Boxes]) -> None:
        self.sizes = np.array([len(boxes) for boxes in pictures], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])
        width = next((boxes.features.shape[1] for boxes in pictures if boxes.features is not None and len(boxes)), 1)
        features = [boxes.features for boxes in pictures if boxes.features is not None and len(boxes)]
        stacked = np.concatenate(features) if features else np.zeros((0, width))
        lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
        self.features = (stacked / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        self.classes = np.concatenate([boxes.classes for boxes in pictures]) if len(pictures) else np.zeros(0, np.int64)
        self.scores = np.concatenate([boxes.scores for boxes in pictures]) if len(pictures) else np.zeros(0)

    def distances(self, row: int) -> Floats:
        """(M,) CCMS distance of picture ``row`` to every picture."""
        mine = slice(int(self.starts[row]), int(self.starts[row + 1]))
        full = np.flatnonzero(self.sizes)
        result: Floats = np.full(len(self.sizes), _UNLIKE if self.sizes[row] else 0.0)
        if not self.sizes[row]:
            result[full] = _UNLIKE
            return result
        unlike = self.classes[:, None] != self.classes[None, mine]
        between = np.where(unlike, _UNLIKE, 1.0 - self.features @ self.features[mine].T)
        result[full] = (self._theirs(between, full) + self._mine(between, full, mine)) / 2
        result = np.maximum(result, 0.0)
        return result

    def _theirs(self, between: Any, full: Any) -> Floats:
        """(full,) of every picture: the mean distance of its boxes to mine, weighted by their scores."""
        starts = self.starts[full]
        weights = np.maximum(self.scores, 1e-12)
        result: Floats = np.add.reduceat(between.min(axis=1) * weights, starts) / np.add.reduceat(weights, starts)
        return result

    def _mine(self, between: Any, full: Any, mine: slice) -> Floats:
        """(full,) the mean distance of my boxes to those of every picture, weighted by my scores."""
        weights = np.maximum(self.scores[mine], 1e-12)
        result: Floats = np.minimum.reduceat(between, self.starts[full], axis=0) @ weights / weights.sum()
        return result

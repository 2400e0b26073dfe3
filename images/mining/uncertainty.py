"""Strategies that ask how unsure the model is of a picture: least confidence, margin, entropy, CSF; and their opposite as a control."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from mining import doubt
from mining.boxes import Boxes, Floats
from mining.empties import EMPTY, fill_empty
from mining.ordering import by_score, share_above
from mining.pool import Pool
from mining.selection import Ranking, Reason
from mining.strategy import Parameter, Request, Strategy

AGGREGATION: Mapping[str, Parameter] = {
    "least_score": Parameter(0.05, "boxes with a lower score do not count", least=0.0, most=1.0),
    "aggregation": Parameter("mean", "how the boxes of a picture become one number", choices=("mean", "mean_topk", "sum", "max")),
    "top_k": Parameter(10, "how many of the most unsure boxes mean_topk looks at", least=1),
    "empty": EMPTY,
}


def aggregate(doubts: Floats, parameters: Mapping[str, Any]) -> float:
    """One number of the doubts (m,) of a picture's boxes; m > 0."""
    kind = parameters["aggregation"]
    if kind == "mean_topk":
        doubts = np.sort(doubts)[::-1][: parameters["top_k"]]
    return float({"sum": np.sum, "max": np.max}.get(kind, np.mean)(doubts))


class Uncertainty(Strategy):
    """Scores each picture by itself: the doubt of its class distribution, or the doubts of its boxes brought together. O(boxes) or O(n C)."""

    needs = frozenset({"predictions"})
    parameters = AGGREGATION

    @abstractmethod
    def of_boxes(self, boxes: Boxes, parameters: Mapping[str, Any]) -> Floats:
        """(m,) doubts in [0, 1] of the boxes of one picture."""

    @abstractmethod
    def of_pictures(self, probabilities: Floats) -> Floats:
        """(n,) doubts in [0, 1] of class distributions (n, C)."""

    def score(self, pool: Pool, parameters: Mapping[str, Any]) -> Floats:
        """(n,) scores, NaN for a picture without boxes. Each row by itself: a stream of batches gives the same."""
        if pool.predictions is None:
            assert pool.probabilities is not None
            return self.of_pictures(pool.probabilities)
        return np.array([self._of_picture(boxes, parameters) for boxes in pool.predictions], float)

    def _of_picture(self, boxes: Boxes, parameters: Mapping[str, Any]) -> float:
        seen = boxes.at_least(parameters["least_score"])
        return aggregate(self.of_boxes(seen, parameters), parameters) if len(seen) else float("nan")

    def rank(self, request: Request) -> Ranking:
        return self.finish(self.score(request.pool, request.parameters), request, request.pool.kind)

    def finish(self, scores: Floats, request: Request, kind: str) -> Ranking:
        """The ranking of all scores, pictures without boxes put where ``empty`` says."""
        filled = fill_empty(scores, request.parameters["empty"], request)
        return by_score(filled, self.reason(scores, filled, kind, request.parameters))

    def reason(self, scores: Floats, filled: Floats, kind: str, parameters: Mapping[str, Any]) -> Reason:
        """Says how unsure a row is and where among all it stands."""
        above = share_above(filled)
        whose = f"its boxes are unsure: {parameters['aggregation']} doubt" if kind == "detection" else "its class is unsure: doubt"

        def words(row: int) -> tuple[str, ...]:
            if np.isnan(scores[row]):
                return ("nothing was found in it",)
            return (f"{whose} {scores[row]:.2f}, {among(float(above[row]))}",)

        return words


def among(share: float) -> str:
    """"among the top 5 %" of a share of rows that are above."""
    return f"among the top {max(1, int(np.ceil(100 * share + 1e-9)))} %"


class LeastConfidence(Uncertainty):
    """1 - the score of the best class (classification) or of the box (detection)."""

    name = "least_confidence"
    source = "Lewis & Gale, SIGIR 1994"

    def of_boxes(self, boxes: Boxes, _parameters: Mapping[str, Any]) -> Floats:
        return 1.0 - boxes.scores

    def of_pictures(self, probabilities: Floats) -> Floats:
        return doubt.least_confidence(probabilities)


class Margin(Uncertainty):
    """1 - (best - second best class); for a box without class distribution the two classes are "it" and "not it": 1 - |2 s - 1|."""

    name = "margin"
    source = "Scheffer et al., IDA 2001; boxes: Brust et al., arXiv 1809.09875"

    def of_boxes(self, boxes: Boxes, _parameters: Mapping[str, Any]) -> Floats:
        return doubt.margin(boxes.scores[:, None] if boxes.probabilities is None else boxes.probabilities)

    def of_pictures(self, probabilities: Floats) -> Floats:
        return doubt.margin(probabilities)


class Entropy(Uncertainty):
    """Entropy of the class distribution over that of an even guess; for boxes without one, of "it is there / it is not" by the score."""

    name = "entropy"
    source = "Shannon 1948; Settles, Active Learning Literature Survey, 2009"
    parameters = {**AGGREGATION, "of_boxes": Parameter("auto", "auto: of the class distribution where boxes have one", ("auto", "binary"))}

    def of_boxes(self, boxes: Boxes, parameters: Mapping[str, Any]) -> Floats:
        if boxes.probabilities is None or parameters["of_boxes"] == "binary":
            return doubt.binary_entropy(boxes.scores)
        return doubt.categorical_entropy(boxes.probabilities)

    def of_pictures(self, probabilities: Floats) -> Floats:
        return doubt.categorical_entropy(probabilities)

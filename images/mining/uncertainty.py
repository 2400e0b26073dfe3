"""Strategies that ask how unsure the model is of a picture: least confidence, margin, entropy, CSF; and their opposite as a control."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mining import doubt
from mining.boxes import Boxes, Floats
from mining.empties import EMPTY
from mining.pool import Pool
from mining.staged import About, Scorer
from mining.strategy import DETECTION, Parameter, Request

AGGREGATIONS = ("mean", "mean_topk", "sum", "max")
AGGREGATION: Mapping[str, Parameter] = {
    "least_score": Parameter(0.05, "boxes with a lower score do not count", least=0.0, most=1.0),
    "aggregation": Parameter("mean", "how the doubts of the boxes of a picture become one number", choices=AGGREGATIONS),
    "top_k": Parameter(10, "how many of the most unsure boxes mean_topk looks at", least=1),
    "empty": EMPTY,
}


def aggregate(doubts: Floats, parameters: Mapping[str, Any]) -> float:
    """One number of the doubts (m,) of a picture's boxes; m > 0. A sum grows with the boxes, so it buys crowded pictures; a maximum saturates."""
    kind = parameters["aggregation"]
    if kind == "sum":
        return float(doubts.sum())
    if kind == "max":
        return float(doubts.max())
    return float((np.sort(doubts)[::-1][: parameters["top_k"]] if kind == "mean_topk" else doubts).mean())


class Uncertainty(Scorer):
    """Scores each picture by itself: the doubt of its class distribution, or the doubts of its boxes brought together. O(boxes) or O(n C)."""

    needs = frozenset({"predictions"})
    parameters: ClassVar[Mapping[str, Parameter]] = AGGREGATION

    @abstractmethod
    def of_boxes(self, boxes: Boxes, parameters: Mapping[str, Any]) -> Floats:
        """(m,) doubts in [0, 1] of the boxes of one picture."""

    @abstractmethod
    def of_pictures(self, probabilities: Floats) -> Floats:
        """(n,) doubts in [0, 1] of class distributions (n, C)."""

    def score(self, pool: Pool, request: Request) -> Floats:
        if pool.predictions is None:
            return self.of_pictures(pool.distributions)
        return np.array([self._of_picture(boxes, request.parameters) for boxes in pool.predictions], float)

    def _of_picture(self, boxes: Boxes, parameters: Mapping[str, Any]) -> float:
        seen = boxes.at_least(parameters["least_score"])
        return aggregate(self.of_boxes(seen, parameters), parameters) if len(seen) else float("nan")

    def words(self, score: float, about: About) -> tuple[str, ...]:
        return (unsure(score, about.among, about.parameters, about.kind),)


def unsure(score: float, among: str, parameters: Mapping[str, Any], kind: str) -> str:
    """How unsure a picture is, and where among all that is."""
    if kind != DETECTION:
        return f"its class is unsure: doubt {score:.2f}, {among}"
    name = {"mean_topk": f"mean of the {parameters['top_k']} highest"}.get(parameters["aggregation"], parameters["aggregation"])
    return f"its boxes are unsure: {name} doubt {score:.2f}, {among}"


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
        return doubt.binary_margin(boxes.scores) if boxes.probabilities is None else doubt.margin(boxes.probabilities)

    def of_pictures(self, probabilities: Floats) -> Floats:
        return doubt.margin(probabilities)


class Entropy(Uncertainty):
    """Entropy of the class distribution over that of an even guess; for boxes without one, of "it is there / it is not" by the score."""

    name = "entropy"
    source = "Settles, Active Learning Literature Survey, 2009"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **AGGREGATION,
        "of_boxes": Parameter("auto", "auto: of the class distribution where boxes have one", ("auto", "binary")),
    }

    def of_boxes(self, boxes: Boxes, parameters: Mapping[str, Any]) -> Floats:
        if boxes.probabilities is None or parameters["of_boxes"] == "binary":
            return doubt.binary_entropy(boxes.scores)
        return doubt.categorical_entropy(boxes.probabilities)

    def of_pictures(self, probabilities: Floats) -> Floats:
        return doubt.categorical_entropy(probabilities)


class Csf(Scorer):
    """Confidence score filter: of the boxes with a score of at least ``low``, the share with one of at most ``up``. O(boxes)."""

    name = "csf"
    needs = frozenset({"predictions"})
    source = "Huawei HiLens SDK, hard example filters; KubeEdge Sedna"
    kinds = (DETECTION,)
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "low": Parameter(0.3, "boxes with a lower score do not count", least=0.0, most=1.0),
        "up": Parameter(0.6, "boxes with a higher score are sure", least=0.0, most=1.0),
        "empty": EMPTY,
    }

    def score(self, pool: Pool, request: Request) -> Floats:
        assert pool.predictions is not None
        low, up = request.parameters["low"], request.parameters["up"]
        seen = [boxes.scores[boxes.scores >= low] for boxes in pool.predictions]
        return np.array([float((scores <= up).mean()) if len(scores) else float("nan") for scores in seen], float)

    def words(self, score: float, about: About) -> tuple[str, ...]:
        return (f"{score:.0%} of its boxes have a score between {about.parameters['low']:g} and {about.parameters['up']:g}, {about.among}",)


class Anti(Entropy):
    """NOT FOR USE: the pictures the model is most sure of first, empty ones before all. A benchmark in which this does not lose has no power.

    Score 1 / (1 + entropy), in (0, 1].
    """

    name = "anti"
    source = "negative control"
    for_use = False
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **Entropy.parameters,
        "aggregation": Parameter("sum", "how the doubts of the boxes of a picture become one number", choices=AGGREGATIONS),
        "empty": Parameter("first", EMPTY.help, choices=EMPTY.choices),
    }

    def score(self, pool: Pool, request: Request) -> Floats:
        return 1.0 / (1.0 + super().score(pool, request))

    def words(self, score: float, about: About) -> tuple[str, ...]:
        return (f"negative control: the model is sure of it (doubt {1.0 / score - 1.0:.2f}), {about.among}",)

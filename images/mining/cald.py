"""CALD: pictures whose boxes move or change when the picture is changed a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mining import doubt
from mining.boxes import Boxes, Floats, iou
from mining.empties import EMPTY
from mining.ordering import falling, picks_then_rest
from mining.pool import Pool
from mining.selection import Ranking
from mining.staged import NOTHING_FOUND, Scored, Staged, Standing
from mining.strategy import Parameter, Request

#: Of more boxes than this, the official code looks at evenly spaced ones.
_MOST_BOXES = 40


class Cald(Staged):
    """Consistency-based active learning.

    Every box k of a picture meets the box of a view that overlaps it most: m_k = IoU + .5 (s + s') (1 - JS(p, p')), JS in nats. A view scores the
    lowest (or a low quantile, or the mean) of |m_k - beta| over the boxes, a picture the mean over its views; the smallest first, so the score
    is max(beta, 2 - beta) minus that. Stage 2: among ``keep_factor`` x budget, those whose predicted classes (softmax over the best score per
    class, mean over the views) differ most, by JS, from those labelled. Differences from the official code: pictures without boxes are neutral
    there instead of first, and quantile .1 instead of the minimum, which saturates where a picture has many boxes. A view in which nothing is
    found counts 0, as there. Note that boxes that match nothing lie as far from beta as boxes that match well: the paper wants those between.
    O(views x boxes^2) per picture; stage 2 O(keep_factor b C).
    """

    name = "cald"
    needs = frozenset({"predictions", "views"})
    uses = frozenset({"labelled"})
    source = "Yu et al., CVPRW 2022, arXiv 2103.10374; github.com/we1pingyu/CALD"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "beta": Parameter(1.3, "the consistency that is wanted most; 2 is perfect", least=0.0, most=2.0),
        "box_agg": Parameter("q10", "one number of the boxes of a view: quantile .1, minimum or mean", choices=("q10", "min", "mean")),
        "keep_factor": Parameter(1.2, "how many times the budget stage 2 looks at", least=1.0),
        "empty": EMPTY,
    }

    def keep(self, budget: int, parameters: Mapping[str, Any]) -> int:
        return int(np.ceil(parameters["keep_factor"] * budget))

    def score(self, pool: Pool, request: Request) -> Floats:
        beta = request.parameters["beta"]
        views = list((pool.views or {}).values())
        if pool.predictions is None:
            distances = [np.abs(_of_pictures(pool.distributions, view) - beta) for view in views if isinstance(view, np.ndarray)]
            mean = np.mean(distances, axis=0)
        else:
            found = zip(pool.predictions, *views, strict=True)
            mean = np.array([_of_picture(reference, changed, request.parameters) for reference, *changed in found], float)
        result: Floats = max(beta, 2.0 - beta) - mean
        return result

    def choose(self, scored: Scored, request: Request) -> Ranking:
        parameters, pool = request.parameters, scored.pool
        kept = scored.best(self.keep(request.budget, parameters))
        counts = pool.labelled.class_counts
        if counts is None:
            request.skipped.append(
                "class balance: the counts of labelled classes are not known, so the least consistent pictures come first"
            )
            chosen, values = kept[: request.budget], scored.filled[scored.rows[kept[: request.budget]]]
        else:
            distance = class_distance(pool.rows(kept), counts, pool.labelled.image_count)
            best = falling(distance)[: request.budget]
            chosen, values = kept[best], distance[best]
        names, standing = " and ".join(pool.views or ()), Standing(scored.filled)

        def reason(row: int) -> tuple[str, ...]:
            if np.isnan(scored.scores[row]):
                return NOTHING_FOUND
            off = max(parameters["beta"], 2.0 - parameters["beta"]) - scored.scores[row]
            return (f"what is found changes under {names}: {off:.2f} from consistency {parameters['beta']:g}, {standing.of(row)}",)

        return picks_then_rest(scored.rows[chosen], values, scored.filled, reason)


def consistency(reference: Boxes, changed: Boxes) -> Floats:
    """(n,) m_k of the boxes of a picture against those of a view (m > 0). O(n m)."""
    overlaps = iou(reference.corners, changed.corners)
    partner = np.argmax(overlaps, axis=1)
    other = changed.keep(partner)
    p, q = _distributions(reference, other)
    agreement = 1.0 - doubt.jensen_shannon(p, q) * np.log(2.0)
    best: Floats = overlaps[np.arange(len(reference)), partner]
    result: Floats = best + 0.5 * (reference.scores + other.scores) * agreement
    return result


def _distributions(left: Boxes, right: Boxes) -> tuple[Floats, Floats]:
    """Class distributions of boxes in pairs; where boxes have only a score: that at their class, the rest at "nothing"."""
    if left.probabilities is not None and right.probabilities is not None:
        return left.probabilities, right.probabilities
    same = left.classes == right.classes
    nothing = np.zeros(len(left))
    p = np.column_stack([left.scores, nothing, 1.0 - left.scores])
    q = np.column_stack([np.where(same, right.scores, 0.0), np.where(same, 0.0, right.scores), 1.0 - right.scores])
    return p, q


def _of_picture(reference: Boxes, changed: list[Boxes], parameters: Mapping[str, Any]) -> float:
    if not len(reference):
        return float("nan")
    if len(reference) > _MOST_BOXES:
        reference = reference.keep(np.round(np.linspace(0, len(reference) - 1, _MOST_BOXES)).astype(np.int64))
    return float(np.mean([_of_view(reference, view, parameters) if len(view) else 0.0 for view in changed]))


def _of_view(reference: Boxes, view: Boxes, parameters: Mapping[str, Any]) -> float:
    distances = np.abs(consistency(reference, view) - parameters["beta"])
    if parameters["box_agg"] == "q10":
        return float(np.quantile(distances, 0.1))
    return float(distances.min() if parameters["box_agg"] == "min" else distances.mean())


def _of_pictures(probabilities: Floats, view: Floats) -> Floats:
    """(n,) m of class distributions: a picture is where it was, so IoU is 1."""
    agreement = 1.0 - doubt.jensen_shannon(probabilities, view) * np.log(2.0)
    result: Floats = 1.0 + 0.5 * (probabilities.max(axis=1) + view.max(axis=1)) * agreement
    return result


def class_distance(pool: Pool, counts: Floats, image_count: int) -> Floats:
    """(n,) JS, in bits, of the softmax of what each picture shows and the softmax of the mean labelled objects of a class per picture. O(n views C)."""
    total = image_count or max(1.0, float(counts.sum()))
    labelled = np.broadcast_to(_softmax((counts / total)[None]), (len(pool), len(counts)))
    return doubt.jensen_shannon(_softmax(_shown(pool, len(counts))), labelled)


def _shown(pool: Pool, class_count: int) -> Floats:
    views = list((pool.views or {}).values())
    if pool.predictions is None:
        pictures = [view for view in views if isinstance(view, np.ndarray)]
        mean: Floats = np.mean([pool.distributions, *pictures], axis=0)
        return mean
    best = np.zeros((1 + len(views), len(pool), class_count))
    for layer, predictions in enumerate([pool.predictions, *views]):
        for row, boxes in enumerate(predictions):
            np.maximum.at(best[layer, row], boxes.classes, boxes.scores)
    return np.asarray(best.mean(axis=0))


def _softmax(rows: Floats) -> Floats:
    raised = np.exp(rows - rows.max(axis=1, keepdims=True)) if rows.size else rows
    result: Floats = raised / raised.sum(axis=1, keepdims=True)
    return result

"""The default: unsure pictures first, rare classes weighed up, then those of them that differ from what is labelled and from each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from mining import doubt, kcenter
from mining.balance import class_weights
from mining.boxes import Boxes, Floats, Ints
from mining.coverage import far, start_distances
from mining.duplicates import fresh_rows, spread_squared, twins
from mining.ordering import lifted, picks_then_rest
from mining.pool import Labelled, Pool
from mining.selection import Ranking, Reason
from mining.staged import NOTHING_FOUND, Scored, Staged, Standing
from mining.strategy import Parameter, Request
from mining.typiclust import typical
from mining.uncertainty import AGGREGATION, AGGREGATIONS, aggregate, unsure

#: How many times ``pool_factor`` is compared while a class has few labels.
_YOUNG_TIMES = 8.0
#: A class is called rare where it weighs this much more than one with the mean number of labels.
_RARE = 1.25


class Default(Staged):
    """Three steps: class-balanced doubt, near-duplicates out, greedy diversity; or typicality while hardly anything is labelled.

    1. Doubt of a box x (mean count / count_c)^0.5 of the labelled set, the boxes of a picture brought together (sum); of a classified picture
       margin doubt x the expected weight. 2. The ``pool_factor`` x budget best that do not resemble a better one or a labelled one. 3. Again and again
       the one with the highest doubt x squared distance to all labelled and picked ones; of detections on embeddings of length 1, of classified
       pictures on embeddings as they are: the length of a classifier's last layer says how much it saw.
    With fewer than ``young_labels`` labels a class doubt says less: 8 times as many are compared, by the root of their doubt. With fewer than
    ``few_labels``, or a model worse than ``poor_quality``, it says nothing: TypiClust picks instead. Fall-backs, each reported: no embeddings = step 3
    (and typicality) are left out; no class counts = all classes count the same.
    O(boxes) for step 1, O(b^2 pool_factor d) for steps 2 and 3.
    """

    name = "default"
    needs = frozenset({"predictions"})
    uses = frozenset({"embeddings", "hashes", "labelled"})
    source = "after PPAL (Yang et al., CVPR 2024), Brust et al. (arXiv 1809.09875) and TypiClust (Hacohen et al., ICML 2022)"
    removes_duplicates = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **AGGREGATION,
        "aggregation": Parameter("sum", AGGREGATION["aggregation"].help, choices=AGGREGATIONS),
        "doubt": Parameter("auto", "auto: entropy of boxes, margin of pictures", choices=("auto", "entropy", "margin", "least_confidence")),
        "pool_factor": Parameter(4.0, "how many times the budget the first stage keeps", least=1.0),
        "young_labels": Parameter(10.0, "with fewer labels a class, difference counts more than doubt; 0 = never", least=0.0),
        "few_labels": Parameter(1.0, "with fewer labels a class, typical pictures come first; 0 = never", least=0.0),
        "model_quality": Parameter(-1.0, "mAP50 or accuracy of the model, where known; -1 = not known", least=-1.0, most=1.0),
        "poor_quality": Parameter(0.2, "below this quality, typical pictures come first", least=0.0, most=1.0),
    }
    shared: ClassVar[Mapping[str, Any]] = {"near_duplicate_bits": 3, "near_duplicate_distance": 0.1}

    def keep(self, budget: int, parameters: Mapping[str, Any]) -> int:
        times = _YOUNG_TIMES if parameters["young_labels"] > 0 else 1.0
        return int(np.ceil(times * parameters["pool_factor"] * budget))

    def score(self, pool: Pool, request: Request) -> Floats:
        weights, parameters = class_weights(pool.labelled.class_counts), request.parameters
        if pool.predictions is None:
            scores = _of_pictures(pool.distributions, parameters["doubt"])
            return scores if weights is None else scores * np.einsum("nc,c->n", pool.distributions, weights)
        return np.array([_of_picture(boxes, weights, parameters) for boxes in pool.predictions], float)

    def choose(self, scored: Scored, request: Request) -> Ranking:
        early = too_early(scored.pool, request.parameters)
        request.report["stage"] = "two stages"
        if scored.pool.labelled.class_counts is None:
            request.skipped.append("class balance: the counts of labelled classes are not known, so all classes count the same")
        if scored.pool.embeddings is None:
            request.skipped.append("diversity: the pool has no embeddings, so similar pictures may be picked together")
            if early:
                request.skipped.append(f"typicality: {early}, but the pool has no embeddings, so doubt decides although it says little yet")
        elif early:
            return _typical(scored, request, early)
        return _unsure_then_diverse(scored, request)


def too_early(pool: Pool, parameters: Mapping[str, Any]) -> str:
    """Why doubt says little yet, in words; "" where it may be trusted (also where nothing is known of the labelled set)."""
    quality = parameters["model_quality"]
    if 0 <= quality < parameters["poor_quality"]:
        return f"the model is poor (quality {quality:.2f})"
    count = labels_per_class(pool.labelled, max(1, len(pool.class_names)))
    if count is not None and count < parameters["few_labels"]:
        return f"little is labelled ({count:.1f} a class)"
    return ""


def is_young(pool: Pool, parameters: Mapping[str, Any]) -> bool:
    """Whether a class has so few labels that difference should count more than doubt."""
    count = labels_per_class(pool.labelled, max(1, len(pool.class_names)))
    return count is not None and count < parameters["young_labels"]


def labels_per_class(labelled: Labelled, class_count: int) -> float | None:
    """Mean labels a class, by the best that is known: objects, else pictures; None where nothing is."""
    if labelled.class_counts is not None and len(labelled.class_counts):
        return float(np.mean(labelled.class_counts))
    pictures = labelled.image_count or (0 if labelled.embeddings is None else len(labelled.embeddings))
    return pictures / class_count if pictures else None


def _typical(scored: Scored, request: Request, early: str) -> Ranking:
    request.report["stage"] = f"typical pictures, because {early}"
    pool = _at_length_one(scored.pool)
    spread = spread_squared(pool.points) if scored.spread is None else scored.spread
    finder = twins(pool, request.parameters["near_duplicate_bits"], request.parameters["near_duplicate_distance"], spread)
    rows = np.arange(len(pool)) if finder is None else fresh_rows(pool, finder, np.arange(len(pool)))
    if len(rows) < request.budget:
        rows = np.arange(len(pool))
    found = typical(pool.points[rows], pool.labelled.embeddings, request)
    own = {int(scored.rows[row]): place for place, row in enumerate(rows.tolist())}
    picked = scored.rows[rows[found.rows]]
    values = np.arange(len(picked), 0, -1) / max(1, len(picked))
    return picks_then_rest(picked, values, scored.filled, lambda row: found.reason(own[row]) if row in own else ())


def _unsure_then_diverse(scored: Scored, request: Request) -> Ranking:
    pool = _at_length_one(scored.pool) if scored.pool.kind == "detection" and scored.pool.embeddings is not None else scored.pool
    young = pool.embeddings is not None and is_young(pool, request.parameters)
    times = request.parameters["pool_factor"] * (_YOUNG_TIMES if young else 1.0)
    kept = _shortlist(scored, pool, request, int(np.ceil(times * request.budget)))
    worth = scored.filled[scored.rows[kept]]
    worth = worth - min(0.0, float(worth.min())) if len(worth) else worth
    worth = np.sqrt(worth) if young else worth
    if pool.embeddings is None:
        picked, values, distances = kept[: request.budget], worth[: request.budget], None
    else:
        by_id = np.argsort(kept)
        kept, worth = kept[by_id], worth[by_id]
        points = pool.points[kept]
        nearest = start_distances(points, pool.labelled.embeddings)
        rows, values, squared = kcenter.greedy(points, request.budget, nearest, lambda squared: worth * squared)
        picked, distances = kept[rows], dict(zip(scored.rows[kept[rows]].tolist(), np.sqrt(squared).tolist(), strict=True))
    return picks_then_rest(scored.rows[picked], lifted(values), scored.filled, _reasons(scored, request, distances))


def _shortlist(scored: Scored, pool: Pool, request: Request, keep: int) -> Ints:
    """(k,) rows of the pool, best first, without near-duplicates of a better or a labelled one; those follow only where the budget needs them."""
    best = scored.best(len(scored.rows))
    bits, share = request.parameters["near_duplicate_bits"], request.parameters["near_duplicate_distance"]
    spread = scored.spread if scored.spread is not None else 0.0 if pool.embeddings is None else spread_squared(pool.points)
    finder = twins(pool, bits, share, spread)
    if finder is None:
        return best[:keep]
    fresh = fresh_rows(pool, finder, best, keep)
    request.report["near_duplicates"] = finder.dropped
    if len(fresh) < keep and not scored.complete:
        request.skipped.append("near-duplicates: the stream kept too few to replace them all, so fewer pictures were compared")
    missing = request.budget - len(fresh)
    if missing > 0:
        fresh = np.concatenate([fresh, best[~np.isin(best, fresh)][:missing]])
    return fresh


def _at_length_one(pool: Pool) -> Pool:
    labelled = pool.labelled.embeddings
    known = replace(pool.labelled, embeddings=None if labelled is None else kcenter.length_one(labelled))
    return replace(pool, embeddings=kcenter.length_one(pool.points), labelled=known)


def _reasons(scored: Scored, request: Request, distances: Mapping[int, float] | None) -> Reason:
    standing, kind = Standing(scored.filled), scored.pool.kind
    places = {row: place for place, row in enumerate(scored.rows.tolist())}
    weights = class_weights(scored.pool.labelled.class_counts)

    def reason(row: int) -> tuple[str, ...]:
        first = (
            NOTHING_FOUND
            if np.isnan(scored.scores[row])
            else (unsure(float(scored.scores[row]), standing.of(row), request.parameters, kind),)
        )
        rare = () if weights is None or row not in places else _rare(scored.pool, places[row], weights, request.parameters)
        return (*first, *rare, *((far(distances[row]),) if distances and row in distances else ()))

    return reason


def _rare(pool: Pool, row: int, weights: Floats, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """ "rare class Platelets", where the class that adds most to the doubt is rare among what is labelled."""
    if pool.predictions is None:
        share = pool.distributions[row] * weights
    else:
        boxes = pool.predictions[row].at_least(parameters["least_score"])
        share = np.bincount(boxes.classes, _doubts(boxes, parameters["doubt"]) * weights[boxes.classes], len(weights))
    best = int(np.argmax(share))
    if share[best] <= 0 or weights[best] < _RARE:
        return ()
    return (f"rare class {pool.class_names[best] if best < len(pool.class_names) else best}",)


def _of_pictures(probabilities: Floats, kind: str) -> Floats:
    if kind == "entropy":
        return doubt.categorical_entropy(probabilities)
    return doubt.least_confidence(probabilities) if kind == "least_confidence" else doubt.margin(probabilities)


def _doubts(boxes: Boxes, kind: str) -> Floats:
    if kind == "least_confidence":
        return 1.0 - boxes.scores
    return doubt.binary_margin(boxes.scores) if kind == "margin" else doubt.binary_entropy(boxes.scores)


def _of_picture(boxes: Boxes, weights: Floats | None, parameters: Mapping[str, Any]) -> float:
    seen = boxes.at_least(parameters["least_score"])
    if not len(seen):
        return float("nan")
    doubts = _doubts(seen, parameters["doubt"])
    return aggregate(doubts if weights is None else doubts * weights[seen.classes], parameters)

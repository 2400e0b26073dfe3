"""What happens around every strategy: near-duplicates and broken rows last, a random share, class quotas, and the picks themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mining.balance import class_weights, keep_quotas, main_classes
from mining.boxes import Floats, Ints
from mining.chance import chances
from mining.duplicates import fresh_rows, spread_squared, twins
from mining.pool import Pool
from mining.selection import Pick, Ranking, Selection
from mining.strategy import Parameter, Request, Strategy

#: Parameters that every strategy has.
SHARED: Mapping[str, Parameter] = {
    "random_share": Parameter(0.0, "share of the budget that is picked by chance, for an unbiased look at the data", least=0.0, most=1.0),
    "class_quotas": Parameter(
        False, "whether each predicted class gets a part of the budget by (mean count / count)^0.5 of what is labelled"
    ),
    "near_duplicate_bits": Parameter(-1, "hashes at most this many bits apart are the same picture; -1 = not compared", least=-1, most=32),
    "near_duplicate_distance": Parameter(
        0.0, "embeddings nearer than this share of the pool's spread are the same picture; 0 = not compared", least=0.0, most=1.0
    ),
}


@dataclass(frozen=True)
class Aside:
    """Rows that are ranked last, and why."""

    rows: Ints
    reason: str


def twin_rows(pool: Pool, aside: Sequence[Aside], request: Request) -> list[Aside]:
    """Near-duplicates of a picture with a lower id, or of a labelled one."""
    bits, share = request.parameters["near_duplicate_bits"], request.parameters["near_duplicate_distance"]
    usable = _others(aside, len(pool))
    whole = pool if len(usable) == len(pool) else pool.rows(usable)
    spread = spread_squared(whole.points) if share > 0 and whole.embeddings is not None else 0.0
    finder = twins(whole, bits, share, spread)
    if finder is None:
        if bits >= 0 or share > 0:
            request.skipped.append("near-duplicates: the pool has no hashes or embeddings to compare")
        return []
    fresh = fresh_rows(whole, finder, np.arange(len(whole)))
    request.report["near_duplicates"] = finder.dropped
    return [Aside(np.setdiff1d(usable, usable[fresh]), "ranked last: it looks like another candidate or a labelled picture")]


def finish(strategy: Strategy, pool: Pool, aside: Sequence[Aside], request: Request) -> Selection:
    """Ranks what is not set aside and puts the whole together."""
    usable = _others(aside, len(pool))
    budget = min(request.budget, len(usable))
    ranking = _with_random(strategy, pool if len(usable) == len(pool) else pool.rows(usable), budget, request)
    reasons = {int(row): (part.reason,) for part in aside for row in part.rows}
    last = np.array(sorted(reasons), np.int64)
    places = {row: place for place, row in enumerate(usable.tolist())} if reasons else {}
    whole = Ranking(
        np.concatenate([usable[ranking.order], last]),
        np.concatenate([ranking.scores, np.full(len(last), below(ranking.scores))]),
        lambda row: reasons[row] if row in reasons else ranking.reason(places.get(row, row)),
    )
    return selection(strategy, pool.ids, whole, request)


def below(scores: Floats) -> float:
    """A score under the lowest of falling scores: 0 where that will do."""
    lowest = float(scores[-1]) if len(scores) else 1.0
    return 0.0 if lowest > 0 else lowest - 1.0


def _others(aside: Sequence[Aside], count: int) -> Ints:
    mask = np.ones(count, bool)
    for part in aside:
        mask[part.rows] = False
    return np.flatnonzero(mask)


def _with_random(strategy: Strategy, pool: Pool, budget: int, request: Request) -> Ranking:
    """The ranking of the pool with ``random_share`` of the budget drawn from all of it first, and placed after the other picks."""
    count = round(request.parameters["random_share"] * budget)
    if not count:
        return _with_quotas(strategy, pool, budget, request)
    drawn = random_rows(pool.ids, request.seed, count)
    others = np.setdiff1d(np.arange(len(pool)), drawn)
    ranking = _with_quotas(strategy, pool.rows(others), budget - count, request)
    request.report["random"] = [pool.ids[row] for row in drawn.tolist()]
    return mix(replace(ranking, order=others[ranking.order]), drawn, budget - count, {int(row): place for place, row in enumerate(others)})


def random_rows(ids: Sequence[str], seed: int, count: int) -> Ints:
    """(count,) rows drawn by chance, each by its own id; not the draw of the strategy ``random``."""
    return np.argsort(-chances(ids, seed, "random_share"), kind="stable")[:count].astype(np.int64)


def mix(ranking: Ranking, drawn: Ints, place: int, own: Mapping[int, int]) -> Ranking:
    """The ranking (its order in rows of the whole) with the drawn rows at ``place``; their score is that of the pick before them."""
    level = ranking.scores[place - 1] if place else ranking.scores[0] if len(ranking.scores) else 0.0
    order = np.concatenate([ranking.order[:place], drawn, ranking.order[place:]])
    scores = np.concatenate([ranking.scores[:place], np.full(len(drawn), level), ranking.scores[place:]])
    by_chance = ("picked by chance, for an unbiased look at the data",)
    return Ranking(order, scores, lambda row: ranking.reason(own[row]) if row in own else by_chance)


def _with_quotas(strategy: Strategy, pool: Pool, budget: int, request: Request) -> Ranking:
    if not len(pool):
        return Ranking.of_nothing()
    inner = Request(pool, budget, request.seed, request.parameters, request.skipped, request.report)
    ranking = strategy.rank(inner)
    if not request.parameters["class_quotas"]:
        return ranking
    weights = class_weights(pool.labelled.class_counts)
    if weights is None or not pool.has("predictions"):
        request.skipped.append("class_quotas: need predictions and the counts of labelled classes; every class competes with all")
        return ranking
    quota = keep_quotas(ranking.order, main_classes(pool, weights), weights, budget)
    names = [pool.class_names[c] if c < len(pool.class_names) else str(c) for c in range(len(weights))]
    request.report["quotas"] = {n: {"places": int(p), "filled": int(f)} for n, p, f in zip(names, quota.places, quota.filled, strict=True)}
    return _reordered(ranking, quota.order)


def _reordered(ranking: Ranking, order: Ints) -> Ranking:
    place = np.empty(len(order), np.int64)
    place[ranking.order] = np.arange(len(order))
    scores = ranking.scores[place[order]]
    return Ranking(order, np.minimum.accumulate(scores) if len(scores) else scores, ranking.reason)


def selection(strategy: Strategy, ids: Sequence[str], ranking: Ranking, request: Request) -> Selection:
    """The picks of a whole ranking; those within the budget with reasons."""
    picks = tuple(
        Pick(ids[row], score, ranking.reason(row) if place < request.budget else ())
        for place, (row, score) in enumerate(zip(ranking.order.tolist(), ranking.scores.tolist(), strict=True))
    )
    report: dict[str, Any] = {"strategy": strategy.name, "budget": request.budget, "seed": request.seed, "candidates": len(picks)}
    return Selection(strategy.name, picks, tuple(request.skipped), {**report, "parameters": dict(request.parameters), **request.report})

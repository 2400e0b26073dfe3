"""What a stream keeps of the candidates that came: the best, a sample, or some that stand for the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mining import kcenter
from mining.boxes import Floats, Ints
from mining.chance import chances
from mining.coverage import CoreSet, outliers, spread_out, start_distances
from mining.ordering import falling
from mining.pool import Pool
from mining.selection import Ranking
from mining.staged import Staged
from mining.strategy import Request, Strategy
from mining.two_stage import Default, too_early

#: How many times what the second stage keeps is held, so that near-duplicates and random picks can be replaced.
_SPARE = 2
#: Candidates that are held for typicality (a sample) and for core-set (representatives), at least.
HELD = 20_000


class Holder:
    """The candidates that are still at hand: their pool, their numbers as they came, and their scores."""

    def __init__(self, strategy: Strategy, request: Request) -> None:
        self.strategy, self.request = strategy, request
        self.pools: list[Pool] = []
        self.numbers = np.zeros(0, np.int64)
        self.scores = np.zeros(0)

    def add(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        self._hold(batch, scores, numbers)

    def _hold(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        if len(batch):
            self.pools.append(batch)
            self.numbers = np.concatenate([self.numbers, numbers])
            self.scores = np.concatenate([self.scores, scores])

    def _cut(self, rows: Ints) -> None:
        self.pools = [joined(self.pools).rows(rows)]
        self.numbers, self.scores = self.numbers[rows], self.scores[rows]

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        """The ranking of all candidates: ``scores`` (N,) and ``order`` (N,) their numbers, both in the order of their ids."""
        assert isinstance(self.strategy, Staged)
        pool, rows, _ = self._at_hand(order)
        return self.strategy.finish(scores, pool, rows, replace(request, pool=pool), self.spread())

    def spread(self) -> float | None:
        return None

    def _at_hand(self, order: Ints) -> tuple[Pool, Ints, Ints]:
        """The held pool in the order of ids; which of all each of its rows is; and the rows before they were put in that order."""
        place = {int(number): row for row, number in enumerate(order)}
        held = [(place[int(number)], row) for row, number in enumerate(self.numbers) if int(number) in place]
        held.sort()
        rows, own = (np.array([pair[side] for pair in held], np.int64).reshape(-1) for side in (0, 1))
        pool = joined(self.pools).rows(own) if self.pools else self.request.pool
        return pool, rows, own


class Scores(Holder):
    """One stage: nothing but scores is held, so the pool is only asked what kind it is."""

    def __init__(self, strategy: Strategy, request: Request) -> None:
        super().__init__(strategy, request)
        self.sample: Pool | None = None

    def add(self, batch: Pool, _scores: Floats, _numbers: Ints) -> None:
        if self.sample is None and len(batch):
            self.sample = batch.rows(np.zeros(0, np.int64))

    def rank(self, scores: Floats, _order: Ints, request: Request) -> Ranking:
        assert isinstance(self.strategy, Staged)
        pool = self.request.pool if self.sample is None else self.sample
        return self.strategy.finish(scores, pool, np.zeros(0, np.int64), replace(request, pool=pool))


class Best(Holder):
    """Two stages: the best by score, and as many without boxes (their score is known only at the end), ties by id."""

    def __init__(self, strategy: Staged, request: Request) -> None:
        super().__init__(strategy, request)
        drawn = round(request.parameters["random_share"] * request.budget)
        self.most = _SPARE * strategy.keep(request.budget, request.parameters) + drawn
        self._count, self._squares, self._sum = 0, 0.0, np.zeros(1)

    def add(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        self._measure(batch)
        self._hold(batch, scores, numbers)
        if len(self.numbers) > 4 * self.most + len(batch):
            self._cut(self._wanted())

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        if len(self.numbers):
            self._cut(self._wanted())
        return super().rank(scores, order, request)

    def _wanted(self) -> Ints:
        ids = [name for pool in self.pools for name in pool.ids]
        by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        empty = by_id[np.isnan(self.scores[by_id])]
        known = by_id[~np.isnan(self.scores[by_id])]
        return np.concatenate([known[falling(self.scores[known])][: self.most], empty[: self.most]])

    def _measure(self, batch: Pool) -> None:
        if batch.embeddings is None or not len(batch):
            return
        points = kcenter.length_one(batch.embeddings)
        self._count += len(points)
        self._squares += float(kcenter.squared_norms(points).sum())
        self._sum = self._sum + points.sum(axis=0, dtype=np.float64)

    def spread(self) -> float | None:
        if not self._count:
            return None
        middle = self._sum / self._count
        return max(0.0, self._squares / self._count - float(middle @ middle))


class Sample(Holder):
    """A random sample: those with the highest numbers made of their ids."""

    def add(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        self._hold(batch, scores, numbers)
        most = max(HELD, 20 * self.request.budget)
        if len(self.numbers) > 2 * most:
            self._cut(self._wanted(most))

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        most = max(HELD, 20 * self.request.budget)
        if len(self.numbers) > most:
            self._cut(self._wanted(most))
        if len(self.numbers) < len(order):
            request.skipped.append(f"typicality: looked at a random sample of {len(self.numbers)} of {len(order)} candidates")
        return super().rank(scores, order, request)

    def _wanted(self, most: int) -> Ints:
        ids = [name for pool in self.pools for name in pool.ids]
        return falling(chances(ids, self.request.seed, "sample"))[:most]


class Centres(Holder):
    """k-centre of k-centres: when too many are held, only 4 x budget that cover them best stay; how far the others lay is remembered."""

    def __init__(self, strategy: Strategy, request: Request) -> None:
        super().__init__(strategy, request)
        self.most = max(HELD, 20 * request.budget)
        self.left: dict[int, float] = {}

    def add(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        for start in range(0, len(batch), self.most):
            some = np.arange(start, min(start + self.most, len(batch)))
            self._hold(batch if len(some) == len(batch) else batch.rows(some), scores[some], numbers[some])
            if len(self.numbers) > 2 * self.most:
                self._reduce()

    def _reduce(self) -> None:
        pool = joined(self.pools)
        order = np.array(sorted(range(len(pool)), key=pool.ids.__getitem__), np.int64)
        ranking = _far_apart(pool.rows(order), self.request.parameters, 4 * self.request.budget)
        kept, dropped = ranking.order[: 4 * self.request.budget], ranking.order[4 * self.request.budget :]
        for row, distance in zip(order[dropped].tolist(), ranking.scores[4 * self.request.budget :].tolist(), strict=True):
            self.left[int(self.numbers[row])] = distance
        self._cut(np.sort(order[kept]))

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        pool, rows, _ = self._at_hand(order)
        if self.left:
            request.skipped.append(f"core_set: looked at {len(pool)} candidates that stand for all {len(order)}")
        ranking = _far_apart(pool, request.parameters, request.budget)
        distance = np.array([self.left.get(int(number), -1.0) for number in order])
        rest = np.setdiff1d(np.arange(len(order)), rows)
        rest = rest[falling(distance[rest])]
        split = request.budget
        head, tail = rows[ranking.order[:split]], np.concatenate([rows[ranking.order[split:]], rest])
        level = np.concatenate([ranking.scores[split:], distance[rest]])
        sequence = falling(level)
        scores = np.minimum.accumulate(np.concatenate([ranking.scores[:split], level[sequence]])) if len(order) else level
        place = {int(row): number for number, row in enumerate(rows)}
        return Ranking(np.concatenate([head, tail[sequence]]), scores, lambda row: ranking.reason(place[row]) if row in place else ())


def _far_apart(pool: Pool, parameters: Mapping[str, Any], budget: int) -> Ranking:
    points, labelled = pool.points, pool.labelled.embeddings
    if parameters["normalise"]:
        points, labelled = kcenter.length_one(points), None if labelled is None else kcenter.length_one(labelled)
    points, labelled = kcenter.centred(points, labelled)
    return spread_out(points, start_distances(points, labelled), outliers(points, pool.ids, parameters["outliers"]), budget)


def holder_of(strategy: Strategy, request: Request) -> Holder:
    if isinstance(strategy, CoreSet):
        return Centres(strategy, request)
    assert isinstance(strategy, Staged)
    if isinstance(strategy, Default) and too_early(request.pool, request.parameters):
        return Sample(strategy, request)
    return Best(strategy, request) if strategy.keep(1, request.parameters) else Scores(strategy, request)


def joined(pools: list[Pool]) -> Pool:
    """One pool of several with the same parts."""
    first = pools[0]
    if len(pools) == 1:
        return first
    together: dict[str, Any] = {"ids": [name for pool in pools for name in pool.ids]}
    for part in ("probabilities", "embeddings", "hashes"):
        if getattr(first, part) is not None:
            together[part] = np.concatenate([getattr(pool, part) for pool in pools])
    for part in ("predictions", "order"):
        if getattr(first, part) is not None:
            together[part] = [row for pool in pools for row in getattr(pool, part)]
    if first.views is not None:
        together["views"] = {name: _joined_view([(pool.views or {})[name] for pool in pools]) for name in first.views}
    return replace(first, class_maps=None, **together)


def _joined_view(views: list[Any]) -> Any:
    return np.concatenate(views) if isinstance(views[0], np.ndarray) else [boxes for view in views for boxes in view]

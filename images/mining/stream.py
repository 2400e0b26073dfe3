"""Candidates that come in batches: a million of them in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mining import kcenter
from mining.boxes import Floats, Ints
from mining.chance import chances
from mining.checking import broken_rows, checked, without_broken_boxes
from mining.coverage import CoreSet, outliers, spread_out, start_distances
from mining.errors import MiningError
from mining.finishing import below, mix, random_rows, selection
from mining.ordering import falling
from mining.pool import Labelled, Pool
from mining.selecting import check_budget, check_needs, find, parts_of, settle
from mining.selection import Ranking, Selection
from mining.staged import Staged
from mining.strategy import Request, Strategy
from mining.two_stage import Default, too_early

#: How many times what the second stage keeps is held, so that near-duplicates and random picks can be replaced.
_SPARE = 2
#: Candidates that are held for typicality (a sample) and for core-set (representatives), at least.
_HELD = 20_000


class Stream:
    """``select`` for candidates that come in batches.

    Per candidate it holds the id, a score and two small numbers; pictures (boxes, embeddings) only of those that may still be picked: at most
    about 4 x ``keep`` of them, or 20,000. What you can rely on, for the same candidates, budget, seed and parameters:

    1. The order and the size of the batches do not matter for strategies that score a picture by itself.
    2. random, least_confidence, margin, entropy, csf, aldd (without frame_gap), anti: the same as ``select``, score by score.
    3. default, cald, ppal: the same as ``select`` (picks, scores of the picks), unless so many near-duplicates were found that what was held did not
       fill the first stage, which ``skipped`` says. Where default picks typical pictures, it does so from a random sample of 20 x budget or 20,000.
    4. core_set: the same as ``select`` until max(20 x budget, 20,000) candidates have come; from then on among representatives of what came (k-centre
       of k-centres: no farther from any candidate than a small factor of the best), and the order of the batches matters.
    5. Other strategies look at all pairs and cannot stream: MiningError.

    ``class_quotas`` and, but for default, near-duplicates need all candidates at once: MiningError.
    """

    def __init__(
        self,
        strategy: str = "default",
        *,
        budget: int,
        seed: int = 0,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        class_names: tuple[str, ...] = (),
        labelled: Labelled = Labelled(),  # noqa: B008 - frozen
    ) -> None:
        check_budget(budget)
        self._strategy = find(strategy)
        self._settings = settle(self._strategy, parameters)
        _check_streamable(self._strategy, self._settings)
        self._empty = Pool((), class_names, labelled=labelled)
        self._request = Request(self._empty, int(budget), seed, self._settings)
        self._ids: list[str] = []
        self._scores: list[Floats] = []
        self._broken: list[int] = []
        self._broken_boxes = 0
        self._holder = _holder(self._strategy, self._request)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, batch: Pool) -> None:
        """Takes some candidates; their ``labelled`` and ``class_names`` are those of the stream. Raises MiningError and takes none of them."""
        batch = checked(replace(batch, class_names=self._empty.class_names, labelled=self._empty.labelled))
        batch = batch.only(parts_of(self._strategy, self._settings))
        check_needs(self._strategy, batch)
        batch, dropped = without_broken_boxes(batch)
        broken = np.unique(np.concatenate([np.zeros(0, np.int64), *broken_rows(batch).values()]))
        whole = np.setdiff1d(np.arange(len(batch)), broken)
        good = batch if not len(broken) else batch.rows(whole)
        scores = np.full(len(batch), np.nan)
        if isinstance(self._strategy, Staged):
            scores[whole] = self._strategy.score(good, self._request)
        self._broken += [len(self._ids) + int(row) for row in broken]
        self._broken_boxes += dropped
        self._holder.add(good, scores[whole], len(self._ids) + whole)
        self._ids += batch.ids
        self._scores.append(scores)

    def finish(self) -> Selection:
        """The selection of everything that came. Raises MiningError where an id came twice."""
        if len(set(self._ids)) != len(self._ids):
            raise MiningError(f"ids: {len(self._ids) - len(set(self._ids))} are given twice; each candidate needs a name of its own")
        request = replace(self._request, budget=min(self._request.budget, len(self._ids)), skipped=[], report={})
        self._tell(request)
        order = np.array(sorted(range(len(self._ids)), key=self._ids.__getitem__), np.int64)
        order = order[~np.isin(order, self._broken)]
        scores = np.concatenate([np.zeros(0), *self._scores])[order]
        ranking = self._ranked(scores, order, request)
        last = np.array(sorted(self._broken, key=self._ids.__getitem__), np.int64)
        place = {int(row): number for number, row in enumerate(order)}
        broken = ("ranked last: it has numbers that are not finite",)
        whole = Ranking(
            np.concatenate([order[ranking.order], last]),
            np.concatenate([ranking.scores, np.full(len(last), below(ranking.scores))]),
            lambda row: ranking.reason(place[row]) if row in place else broken,
        )
        return selection(self._strategy, self._ids, whole, request)

    def _tell(self, request: Request) -> None:
        if self._broken_boxes:
            request.skipped.append(f"{self._broken_boxes} boxes: a number of theirs is not finite; they do not count")
        if self._broken:
            first = self._ids[self._broken[0]]
            request.skipped.append(f"{len(self._broken)} pictures: numbers that are not finite (first: {first!r}); ranked last")

    def _ranked(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        """The ranking of the candidates in the order of their ids, the random share drawn first as ``select`` does."""
        budget = min(request.budget, len(order))
        count = round(self._settings["random_share"] * budget)
        drawn = random_rows([self._ids[row] for row in order.tolist()], request.seed, count)
        others = np.setdiff1d(np.arange(len(order)), drawn)
        inner = replace(request, budget=budget - count)
        ranking = self._holder.rank(scores[others], order[others], inner)
        if not count:
            return ranking
        request.report["random"] = [self._ids[int(order[row])] for row in drawn]
        own = {int(row): place for place, row in enumerate(others)}
        return mix(replace(ranking, order=others[ranking.order]), drawn, budget - count, own)


def _check_streamable(strategy: Strategy, settings: Mapping[str, Any]) -> None:
    if not isinstance(strategy, (Staged, CoreSet)):
        raise MiningError(f"strategy {strategy.name} looks at all pairs of candidates and cannot stream; give all at once to select")
    compared = settings["near_duplicate_bits"] >= 0 or settings["near_duplicate_distance"] > 0
    if settings["class_quotas"] or (compared and not strategy.removes_duplicates):
        raise MiningError("class_quotas and near-duplicates need all candidates at once; give them to select, or use the strategy default")


class _Holder:
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
        pool = joined(self.pools).rows(own) if len(own) else replace(self.request.pool, ids=())
        return pool, rows, own


class _Scores(_Holder):
    """One stage: nothing but scores is held, so the pool is only asked what kind it is."""

    def __init__(self, strategy: Strategy, request: Request) -> None:
        super().__init__(strategy, request)
        self.sample: Pool | None = None

    def add(self, batch: Pool, _scores: Floats, _numbers: Ints) -> None:
        if self.sample is None and len(batch):
            self.sample = batch.rows(np.zeros(0, np.int64))

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        assert isinstance(self.strategy, Staged)
        pool = self.sample or self.request.pool
        return self.strategy.finish(scores, pool, np.zeros(0, np.int64), replace(request, pool=pool))


class _Best(_Holder):
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


class _Sample(_Holder):
    """A random sample: those with the highest numbers made of their ids."""

    def add(self, batch: Pool, scores: Floats, numbers: Ints) -> None:
        self._hold(batch, scores, numbers)
        most = max(_HELD, 20 * self.request.budget)
        if len(self.numbers) > 2 * most:
            self._cut(self._wanted(most))

    def rank(self, scores: Floats, order: Ints, request: Request) -> Ranking:
        most = max(_HELD, 20 * self.request.budget)
        if len(self.numbers) > most:
            self._cut(self._wanted(most))
            request.skipped.append(f"typicality: looked at a random sample of {most} of {len(order)} candidates")
        return super().rank(scores, order, request)

    def _wanted(self, most: int) -> Ints:
        ids = [name for pool in self.pools for name in pool.ids]
        return falling(chances(ids, self.request.seed, "sample"))[:most]


class _Centres(_Holder):
    """k-centre of k-centres: when too many are held, only 4 x budget that cover them best stay; how far the others lay is remembered."""

    def __init__(self, strategy: Strategy, request: Request) -> None:
        super().__init__(strategy, request)
        self.most = max(_HELD, 20 * request.budget)
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
        ranking = _far_apart(pool, request.parameters, request.budget) if len(pool) else Ranking(rows, np.zeros(0), lambda _: ())
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


def _holder(strategy: Strategy, request: Request) -> _Holder:
    if isinstance(strategy, CoreSet):
        return _Centres(strategy, request)
    assert isinstance(strategy, Staged)
    if isinstance(strategy, Default) and too_early(request.pool, request.parameters):
        return _Sample(strategy, request)
    return _Best(strategy, request) if strategy.keep(1, request.parameters) else _Scores(strategy, request)


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

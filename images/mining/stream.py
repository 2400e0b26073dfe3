"""Candidates that come in batches: a million of them in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mining.boxes import Floats, Ints
from mining.checking import broken_rows, checked, without_broken_boxes
from mining.coverage import CoreSet
from mining.errors import MiningError
from mining.finishing import below, mix, random_rows, selection
from mining.holding import holder_of
from mining.pool import Labelled, Pool
from mining.selecting import check_budget, check_needs, find, parts_of, settle
from mining.selection import Ranking, Selection
from mining.staged import Staged
from mining.strategy import Request, Strategy


class Stream:
    """``select`` for candidates that come in batches.

    Per candidate it holds the id, a score and two small numbers; pictures (boxes, embeddings) only of those that may still be picked: at most
    about 8 x ``keep`` of them, or 40,000. What you can rely on, for the same candidates, budget, seed and parameters:

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
        self._holder = holder_of(self._strategy, self._request)
        self._shape: dict[str, str] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, batch: Pool) -> None:
        """Takes some candidates; their ``labelled`` and ``class_names`` are those of the stream. Raises MiningError and takes none of them."""
        batch = checked(replace(batch, class_names=self._empty.class_names, labelled=self._empty.labelled))
        batch = batch.only(parts_of(self._strategy, self._settings))
        check_needs(self._strategy, batch)
        self._check_alike(batch)
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

    def _check_alike(self, batch: Pool) -> None:
        """Raises MiningError where a batch has other parts than the first, or of another width."""
        shape = _shape(batch)
        if not len(batch):
            return
        first = self._shape = self._shape or shape
        for part, found in shape.items():
            if found != first[part]:
                raise MiningError(f"{part}: this batch has {found}, and the first had {first[part]}; give all batches the same parts")

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
        ranking = self._holder.rank(scores[others], order[others], inner) if len(others) else Ranking.of_nothing()
        if not count:
            return ranking
        request.report["random"] = [self._ids[int(order[row])] for row in drawn]
        own = {int(row): place for place, row in enumerate(others)}
        return mix(replace(ranking, order=others[ranking.order]), drawn, budget - count, own)


def _shape(pool: Pool) -> dict[str, str]:
    """What a pool has of each part, in words."""
    shape = {"predictions": "none" if pool.predictions is None else "boxes", "views": ", ".join(sorted(pool.views or ())) or "none"}
    for part in ("probabilities", "embeddings", "hashes"):
        value = getattr(pool, part)
        shape[part] = "none" if value is None else f"{value.shape[1]} numbers each" if value.ndim == 2 else "one each"
    return shape


def _check_streamable(strategy: Strategy, settings: Mapping[str, Any]) -> None:
    if not isinstance(strategy, (Staged, CoreSet)):
        raise MiningError(f"strategy {strategy.name} looks at all pairs of candidates and cannot stream; give all at once to select")
    compared = settings["near_duplicate_bits"] >= 0 or settings["near_duplicate_distance"] > 0
    if settings["class_quotas"] or (compared and not strategy.removes_duplicates):
        raise MiningError("class_quotas and near-duplicates need all candidates at once; give them to select, or use the strategy default")

"""Strategies in two stages: a score per picture, looked at alone, then a choice among the best. What they keep is small, so they can stream."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mining.boxes import Floats, Ints
from mining.empties import fill_empty
from mining.ordering import by_score, falling
from mining.pool import Pool
from mining.selection import Ranking
from mining.strategy import Request, Strategy


@dataclass(frozen=True)
class Scored:
    """All N scores, and the pool of those candidates that are still at hand (all of them, or what a stream has kept).

    ``scores`` (N,) as the strategy gave them, NaN for pictures without boxes; ``filled`` (N,) with those replaced; ``rows`` (n,) rising: which of the
    N each row of ``pool`` is; ``spread``: mean squared distance of all embeddings, at length 1, to their mean.
    """

    scores: Floats
    filled: Floats
    pool: Pool
    rows: Ints
    spread: float | None = None

    def best(self, count: int) -> Ints:
        """Rows of ``pool``, best first, at most ``count``."""
        return falling(self.filled[self.rows])[:count]

    @property
    def complete(self) -> bool:
        """Whether every candidate is at hand."""
        return len(self.rows) == len(self.filled)


class Staged(Strategy):
    """``score`` each picture by itself, then ``choose`` among the ``keep`` best."""

    def keep(self, _budget: int, _parameters: Mapping[str, Any]) -> int:
        """How many of the best the second stage wants to see; 0 = there is no second stage."""
        return 0

    @abstractmethod
    def score(self, pool: Pool, request: Request) -> Floats:
        """(n,) scores, higher first, NaN for a picture without boxes. Each row by itself: a stream of batches gives the same."""

    @abstractmethod
    def choose(self, scored: Scored, request: Request) -> Ranking:
        """The ranking of all N rows."""

    def rank(self, request: Request) -> Ranking:
        scores = self.score(request.pool, request)
        return self.finish(scores, request.pool, np.arange(len(scores)), request)

    def finish(self, scores: Floats, pool: Pool, rows: Ints, request: Request, spread: float | None = None) -> Ranking:
        """The ranking of all scores; pictures without boxes stand where the parameter ``empty`` says."""
        filled = fill_empty(scores, request.parameters.get("empty", "neutral"), request)
        return self.choose(Scored(scores, filled, pool, rows, spread), request)


@dataclass(frozen=True)
class About:
    """What the reasons of a picture may say beside its score: where it stands ("among the top 5 %"), the parameters, the kind of the pool."""

    among: str
    parameters: Mapping[str, Any]
    kind: str


class Scorer(Staged):
    """One stage: the score is the ranking."""

    @abstractmethod
    def words(self, score: float, about: About) -> tuple[str, ...]:
        """The reasons of a picture by its score."""

    def choose(self, scored: Scored, request: Request) -> Ranking:
        standing, kind, scores = Standing(scored.filled), request.pool.kind, scored.scores

        def reason(row: int) -> tuple[str, ...]:
            if np.isnan(scores[row]):
                return NOTHING_FOUND
            return self.words(float(scores[row]), About(standing.of(row), request.parameters, kind))

        return by_score(scored.filled, reason)


NOTHING_FOUND = ("nothing was found in it",)


class Standing:
    """Where a row stands among all, in words."""

    def __init__(self, scores: Floats) -> None:
        self._scores, self._sorted = scores, np.sort(scores)

    def of(self, row: int) -> str:
        """ "among the top 5 %": the smallest whole share that holds the row. O(log n)."""
        count = len(self._sorted)
        above = count - int(np.searchsorted(self._sorted, self._scores[row], side="right"))
        return f"among the top {max(1, -(-100 * (above + 1) // count))} %"

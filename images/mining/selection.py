"""What mining gives back: every candidate once, best first, with a score and the reasons in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mining.boxes import Floats, Ints

#: Gives the reasons of the candidate at a row of the pool.
Reason = Callable[[int], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Pick:
    """One candidate: ``score`` orders (higher is picked first, the scale is the strategy's own), ``reasons`` are words for people.

    Beyond the budget ``reasons`` may be empty: nobody asked why a picture was not picked, and a million sentences weigh more than the scores.
    """

    id: str
    score: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """A whole ranking. The first ``budget`` of ``picks`` are the selection; scores never rise along it and are always finite.

    ``skipped``: sentences that say what was left out and why (a need that was not met, broken rows). ``report``: what was used, ready for JSON:
    ``budget``, ``seed``, ``parameters``, counts, and what the strategy adds.
    """

    strategy: str
    picks: tuple[Pick, ...]
    skipped: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def selected(self) -> tuple[Pick, ...]:
        """The picks within the budget."""
        return self.picks[: self.report["budget"]]


@dataclass(frozen=True)
class Ranking:
    """What a strategy makes of a pool of n: ``order`` (n,) rows, best first; ``scores`` (n,) in that order, never rising; ``reason`` by row."""

    order: Ints
    scores: Floats
    reason: Reason

    @classmethod
    def of_nothing(cls) -> Ranking:
        """The ranking of no candidates."""
        return cls(np.zeros(0, np.int64), np.zeros(0), lambda _: ())

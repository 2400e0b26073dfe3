"""The one door: checks a request, ranks the pool by a strategy, and gives every candidate back with its score and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mining.chance import Random
from mining.coverage import CoreSet
from mining.errors import MiningError
from mining.pool import Pool
from mining.selection import Pick, Ranking, Selection
from mining.strategy import Request, Strategy
from mining.two_stage import Default
from mining.uncertainty import Entropy, LeastConfidence, Margin

#: Every strategy by its name.
STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {strategy.name: strategy for strategy in (Default(), Random(), LeastConfidence(), Margin(), Entropy(), CoreSet())}
)


def select(
    pool: Pool, strategy: str = "default", *, budget: int, seed: int = 0, parameters: Mapping[str, Any] = MappingProxyType({})
) -> Selection:
    """Ranks the candidates: every one once, best first, the first ``budget`` are the selection.

    The same pool, seed and parameters give the same answer, whatever the order of the candidates; ties go by id. A budget above the pool takes
    the whole pool. Raises MiningError for an unknown strategy or parameter, a need that the pool does not meet, and a pool that does not fit together.
    """
    chosen = find(strategy)
    settings = settle(chosen, parameters)
    check_needs(chosen, pool)
    if budget < 0:
        raise MiningError(f"budget: {budget} is negative; give how many pictures to pick")
    order = np.array(sorted(range(len(pool)), key=pool.ids.__getitem__), np.int64)
    request = Request(pool.rows(order), min(budget, len(pool)), seed, settings)
    return _selection(chosen, chosen.rank(request), request)


def find(name: str) -> Strategy:
    """The strategy of this name. Raises MiningError with the known names."""
    if name not in STRATEGIES:
        raise MiningError(f"unknown strategy {name!r}; there are: {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name]


def settle(strategy: Strategy, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the strategy, the given ones checked. Raises MiningError for an unknown name or a value outside what is allowed."""
    unknown = sorted(set(given) - set(strategy.parameters))
    if unknown:
        known = ", ".join(sorted(strategy.parameters)) or "none"
        raise MiningError(f"strategy {strategy.name} has no parameter {unknown[0]!r}; it has: {known}")
    return {name: known.check(name, given.get(name, known.default)) for name, known in strategy.parameters.items()}


def check_needs(strategy: Strategy, pool: Pool) -> None:
    """Raises MiningError that names what the strategy needs and the pool has not."""
    missing = sorted(need for need in strategy.needs if not pool.has(need))
    if missing:
        raise MiningError(f"strategy {strategy.name} needs {' and '.join(missing)}, which the pool does not have")
    if pool.kind and pool.kind not in strategy.kinds:
        raise MiningError(f"strategy {strategy.name} is for {' and '.join(strategy.kinds)}, and the pool is of {pool.kind}")


def _selection(strategy: Strategy, ranking: Ranking, request: Request) -> Selection:
    ids = request.pool.ids
    picks = tuple(
        Pick(ids[row], score, ranking.reason(row) if place < request.budget else ())
        for place, (row, score) in enumerate(zip(ranking.order.tolist(), ranking.scores.tolist(), strict=True))
    )
    report = {"budget": request.budget, "seed": request.seed, "candidates": len(picks), "parameters": dict(request.parameters), **request.report}
    return Selection(strategy.name, picks, tuple(request.skipped), report)

"""The one door: checks a request, ranks the pool by a strategy, and gives every candidate back with its score and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mining.aldd import Aldd
from mining.badge import Badge
from mining.cald import Cald
from mining.cdal import Cdal
from mining.chance import Random
from mining.checking import broken_rows, checked, without_broken_boxes
from mining.coverage import CoreSet
from mining.errors import MiningError
from mining.finishing import SHARED, Aside, finish, twin_rows
from mining.pool import Pool
from mining.ppal import Ppal
from mining.selection import Selection
from mining.strategy import Request, Strategy
from mining.two_stage import Default
from mining.typiclust import TypiClust
from mining.uncertainty import Anti, Csf, Entropy, LeastConfidence, Margin

_ALL: tuple[Strategy, ...] = (
    Default(),
    Random(),
    LeastConfidence(),
    Margin(),
    Entropy(),
    Csf(),
    Cald(),
    Aldd(),
    CoreSet(),
    TypiClust(),
    Badge(),
    Cdal(),
    Ppal(),
    Anti(),
)
#: Every strategy by its name.
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({strategy.name: strategy for strategy in _ALL})


def select(
    pool: Pool, strategy: str = "default", *, budget: int, seed: int = 0, parameters: Mapping[str, Any] = MappingProxyType({})
) -> Selection:
    """Ranks the candidates: every one once, best first, the first ``budget`` are the selection.

    The same pool, seed and parameters give the same answer, whatever the order of the candidates; ties go by id. A budget above the pool takes
    the whole pool. ``parameters`` are those of the strategy and those of every strategy (``mining.finishing.SHARED``). Broken rows (numbers that
    are not finite) are ranked last and told. Raises MiningError for an unknown strategy or parameter, a need that the pool does not meet, and a
    pool that does not fit together; the pool is never changed.
    """
    chosen = find(strategy)
    settings = settle(chosen, parameters)
    check_budget(budget)
    pool = by_id(checked(pool).only(parts_of(chosen, settings)))
    check_needs(chosen, pool)
    request = Request(pool, min(budget, len(pool)), seed, settings)
    pool, aside = _set_aside(pool, request)
    if not chosen.removes_duplicates:
        aside += twin_rows(pool, aside, request)
    return finish(chosen, pool, aside, request)


def find(name: str) -> Strategy:
    """The strategy of this name. Raises MiningError with the known names."""
    if name not in STRATEGIES:
        raise MiningError(f"unknown strategy {name!r}; there are: {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name]


def settle(strategy: Strategy, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the strategy and those of all, the given ones checked. Raises MiningError for an unknown name or a value not allowed."""
    known = {**SHARED, **strategy.parameters}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise MiningError(f"strategy {strategy.name} has no parameter {unknown[0]!r}; it has: {', '.join(sorted(known))}")
    return {name: one.check(name, given.get(name, strategy.shared.get(name, one.default))) for name, one in known.items()}


def check_needs(strategy: Strategy, pool: Pool) -> None:
    """Raises MiningError that names what the strategy needs and the pool has not."""
    if pool.kind and pool.kind not in strategy.kinds:
        raise MiningError(f"strategy {strategy.name} is for {' and '.join(strategy.kinds)}, and the pool is of {pool.kind}")
    missing = sorted(need for need in strategy.needs_of(pool.kind) if not pool.has(need))
    if missing:
        raise MiningError(f"strategy {strategy.name} needs {' and '.join(missing)}, which the pool does not have")


def check_budget(budget: int) -> None:
    """Raises MiningError for what is no number of pictures."""
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 0:
        raise MiningError(f"budget: {budget!r} is no number of pictures; give a whole number, 0 or more")


def parts_of(strategy: Strategy, settings: Mapping[str, Any]) -> frozenset[str]:
    """What will be looked at: the strategy's needs, and what finding near-duplicates takes."""
    compared = {"hashes"} if settings["near_duplicate_bits"] >= 0 else set()
    compared |= {"embeddings"} if settings["near_duplicate_distance"] > 0 else set()
    return strategy.needs | strategy.uses | compared


def by_id(pool: Pool) -> Pool:
    """The pool in the order of its ids, so that nothing depends on the order in which candidates came, rounding included."""
    order = sorted(range(len(pool)), key=pool.ids.__getitem__)
    return pool if order == list(range(len(pool))) else pool.rows(np.array(order, np.int64))


def _set_aside(pool: Pool, request: Request) -> tuple[Pool, list[Aside]]:
    pool, boxes = without_broken_boxes(pool)
    if boxes:
        request.skipped.append(f"{boxes} boxes: a score, corner, probability or feature is not a finite number; they do not count")
    aside = []
    for part, rows in broken_rows(pool).items():
        first = pool.ids[int(rows[0])]
        request.skipped.append(f"{len(rows)} pictures: the {part} has numbers that are not finite (first: {first!r}); ranked last")
        aside.append(Aside(rows, f"ranked last: its {part} has numbers that are not finite"))
    return pool, aside

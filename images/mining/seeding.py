"""k-means++ seeding: points drawn with a chance that grows with the squared distance to what was drawn before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mining.boxes import Floats, Ints


@dataclass(frozen=True)
class Seeds:
    """``rows`` (k,) as drawn, ``squared`` (k,) distance of each when drawn (inf for the first), ``nearest`` (n,) to all of them."""

    rows: Ints
    squared: Floats
    nearest: Floats


def draw(count: int, first: int, distances: Callable[[int], Floats], generator: np.random.Generator, trials: int = 1) -> Seeds:
    """``count`` rows: ``first``, then each with a chance proportional to its squared distance to the nearest drawn one.

    ``distances(row)`` gives (n,) squared distances. Of ``trials`` rows drawn each time, the one stays that leaves the least (greedy k-means++). Where
    nothing is left at a distance, the lowest rows follow. O(count x trials x cost of distances).
    """
    nearest = np.maximum(distances(first), 0.0)
    taken = np.zeros(len(nearest), bool)
    rows, squared = [first], [float("inf")]
    taken[first] = True
    while len(rows) < min(count, len(nearest)):
        tried = {_one(np.where(taken, 0.0, nearest), taken, generator) for _ in range(trials)}
        left = {row: np.minimum(nearest, np.maximum(distances(row), 0.0)) for row in sorted(tried)}
        row = min(left, key=lambda one: float(left[one].sum()))
        rows.append(row)
        squared.append(float(nearest[row]))
        taken[row] = True
        nearest = left[row]
    return Seeds(np.array(rows, np.int64), np.array(squared), nearest)


def _one(weights: Floats, taken: object, generator: np.random.Generator) -> int:
    cumulated = np.cumsum(weights)
    if not cumulated[-1] > 0:
        return int(np.argmin(np.asarray(taken)))
    # A draw of exactly the total would fall behind the last row that has a weight.
    place = min(generator.random() * cumulated[-1], np.nextafter(cumulated[-1], 0.0))
    return int(np.searchsorted(cumulated, place, side="right"))


def falling_values(count: int) -> Floats:
    """(count,) 1 ... 1/count: values for picks that come in an order but have no falling measure of their own."""
    values: Floats = np.arange(count, 0, -1, dtype=float) / max(1, count)
    return values

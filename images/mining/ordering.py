"""From scores to rankings."""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats, Ints
from mining.selection import Ranking, Reason


def by_score(scores: Floats, reason: Reason) -> Ranking:
    """Highest score first, ties in row order (the rows of a request lie in the order of their ids). O(n log n)."""
    order = falling(scores)
    return Ranking(order, scores[order], reason)


def falling(scores: Floats) -> Ints:
    """(n,) rows by falling score; ties in row order."""
    order: Ints = np.argsort(-scores, kind="stable").astype(np.int64)
    return order


def picks_then_rest(picked: Ints, values: Floats, rest_scores: Floats, reason: Reason) -> Ranking:
    """Picks in their order, then every other row by ``rest_scores`` (n,).

    ``values`` (k,) are the picks' own, never rising, at least 0. The rest lies in [0, 1] on its own scale, so picks are lifted by 1: a score above 1
    says "picked", below "not picked".
    """
    rest = np.setdiff1d(np.arange(len(rest_scores)), picked)
    rest = rest[falling(rest_scores[rest])]
    order = np.concatenate([picked, rest]).astype(np.int64)
    scores = np.concatenate([1.0 + values, unit(rest_scores[rest])])
    return Ranking(order, scores, reason)


def lifted(values: Floats) -> Floats:
    """Values (k,) of greedy picks as a line that never rises. They fall by themselves but for the first, which had nothing to be far from."""
    if not len(values):
        return values
    falling_values = values.copy()
    falling_values[0] = values.max()
    result: Floats = np.minimum.accumulate(falling_values)
    return result


def unit(scores: Floats) -> Floats:
    """The scores moved and stretched into [0, 1]; their order stays. All 0 where they are all the same."""
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)

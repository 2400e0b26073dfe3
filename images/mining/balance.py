"""Rare classes count for more: weights and quotas from what is labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mining.boxes import Floats, Ints
from mining.pool import Pool


def class_weights(counts: Floats | None) -> Floats | None:
    """(C,) (mean count / count_c)^0.5; None where the counts are not known. A class without labels counts as one label."""
    if counts is None or not len(counts):
        return None
    known = np.maximum(counts, 1.0)
    weights: Floats = np.sqrt(known.mean() / known)
    return weights


def main_classes(pool: Pool, weights: Floats) -> Ints:
    """(n,) the class a picture would count for: the predicted one (classification), the one of its boxes with the highest score x weight
    (detection), -1 without boxes."""
    if pool.predictions is None:
        assert pool.probabilities is not None
        return np.asarray(np.argmax(pool.probabilities, axis=1), np.int64)
    best = [int(b.classes[np.argmax(b.scores * weights[b.classes])]) if len(b) else -1 for b in pool.predictions]
    return np.array(best, np.int64).reshape(-1)


def quotas(classes: Ints, weights: Floats, budget: int) -> Ints:
    """(C,) places for each class that candidates show, in proportion to its weight, rounded by largest remainder; they sum to the budget."""
    shares = np.where(np.isin(np.arange(len(weights)), classes), weights, 0.0)
    if not shares.sum():
        return np.zeros(len(weights), np.int64)
    exact = budget * shares / shares.sum()
    places: Ints = np.floor(exact).astype(np.int64)
    places[np.argsort(places - exact, kind="stable")[: budget - int(places.sum())]] += 1
    return places


@dataclass(frozen=True)
class Quota:
    """An order in which the quotas were kept: ``order`` (n,), and how many of the first ``budget`` each class got."""

    order: Ints
    places: Ints
    filled: Ints


def keep_quotas(order: Ints, classes: Ints, weights: Floats, budget: int) -> Quota:
    """Walks an order best first: a picture is taken while its class has a place; places nobody fills go to the best of the rest. O(n)."""
    places = quotas(classes, weights, budget)
    left = places.copy()
    taken: list[int] = []
    later: list[int] = []
    for row in order.tolist():
        kind = classes[row]
        if len(taken) < budget and kind >= 0 and left[kind] > 0:
            left[kind] -= 1
            taken.append(row)
        else:
            later.append(row)
    return Quota(np.array(taken + later, np.int64), places, places - left)

"""CDAL: pictures between whose classes the model is confused in different ways."""

from __future__ import annotations

import numpy as np

from mining.boxes import Boxes, Floats, Ints
from mining.ordering import lifted, picks_then_rest
from mining.pool import Pool
from mining.selection import Ranking
from mining.strategy import Request, Strategy

#: Share of an even guess mixed into each profile, so that the divergence of two certainties is finite.
_SMOOTHING = 1e-3


class Cdal(Strategy):
    """k-centre greedy under the symmetric KL divergence of confusion profiles.

    The profile of a picture holds a row per class: the mean distribution of the boxes predicted as it (an even guess where there is none: nothing
    is known); of a classified picture it is its distribution. sum over rows of KL(p, q) / 2 + KL(q, p) / 2 = h_i + h_j - (P_i . L_j + L_i . P_j) / 2 with
    L = log P, so a pick costs two matrix products. The first is the farthest from the mean profile (the public code draws it). O(n b C^2), memory n C^2.
    """

    name = "cdal"
    needs = frozenset({"probabilities"})
    source = "Agarwal et al., ECCV 2020, arXiv 2008.05723"

    def rank(self, request: Request) -> Ranking:
        profiles = smoothed(_profiles(request.pool))
        rows, values, nearest = farthest(profiles, request.budget)
        at = dict(zip(rows.tolist(), values.tolist(), strict=True))
        words = "the model confuses classes here in another way than in the pictures picked before"
        return picks_then_rest(rows, lifted(values), nearest, lambda row: (f"{words} (divergence {at.get(row, 0.0):.2f})",))


def farthest(profiles: Floats, count: int) -> tuple[Ints, Floats, Floats]:
    """Rows (k,) by k-centre greedy, their divergence when picked (k,), and that of all rows to what was picked (n,). Ties to the lowest row."""
    logs = np.log(profiles)
    own = (profiles * logs).sum(axis=1)
    nearest = _divergences(profiles, logs, own, profiles.mean(axis=0)) if len(profiles) else np.zeros(0)
    taken = np.zeros(len(profiles), bool)
    rows, values = [], []
    for step in range(min(count, len(profiles))):
        row = int(np.argmax(np.where(taken, -np.inf, nearest)))
        rows.append(row)
        values.append(float(nearest[row]))
        taken[row] = True
        distances = _divergences(profiles, logs, own, profiles[row])
        # What counts from the first pick on is the distance to picks, no longer that to the mean.
        nearest = distances if step == 0 else np.minimum(nearest, distances)
    return np.array(rows, np.int64), np.array(values), nearest


def _divergences(profiles: Floats, logs: Floats, own: Floats, profile: Floats) -> Floats:
    log = np.log(profile)
    result: Floats = np.maximum((own + float(profile @ log) - profiles @ log - logs @ profile) / 2, 0.0)
    return result


def smoothed(profiles: Floats) -> Floats:
    """The rows (n, R, C) flat as (n, R C), each distribution mixed with a little of an even guess."""
    mixed = profiles * (1.0 - _SMOOTHING) + _SMOOTHING / profiles.shape[2]
    flat: Floats = mixed.reshape(len(profiles), -1)
    return flat


def _profiles(pool: Pool) -> Floats:
    if pool.predictions is None:
        return pool.distributions[:, None, :]
    classes = next((b.probabilities.shape[1] for b in pool.predictions if b.probabilities is not None and len(b)), 1)
    shown = np.array(sorted({int(c) for boxes in pool.predictions for c in boxes.classes}), np.int64)
    profiles = np.full((len(pool), max(1, len(shown)), classes), 1.0 / classes)
    for row, boxes in enumerate(pool.predictions):
        _fill(profiles[row], boxes, shown)
    return profiles


def _fill(profile: Floats, boxes: Boxes, shown: Ints) -> None:
    for place, kind in enumerate(shown):
        mine = boxes.classes == kind
        if mine.any() and boxes.probabilities is not None:
            profile[place] = boxes.probabilities[mine].mean(axis=0)

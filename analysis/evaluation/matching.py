"""Which prediction takes which true object: COCO's rule, for all pictures, classes and thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from analysis.evaluation.objects import Flags, Floats, Ints, order_of, ranks_in
from analysis.evaluation.overlap import Pairs

#: COCO's: a threshold of 1 is reached by an overlap a rounding error below.
_ALMOST_ONE = 1 - 1e-10


def rounds_of(pairs: Pairs, turn: Ints, group: Ints) -> list[Pairs]:
    """The pairs in the order in which predictions choose: in each round at most one of a group, so that no two want the same truth.

    ``turn``: (n,) smaller chooses first within its ``group`` (n,); pairs never cross groups. Within a round the best pair of each is the last.
    """
    if not len(pairs.found):
        return []
    choosers = np.unique(pairs.found)
    choosers = choosers[order_of(group[choosers], turn[choosers])]
    number = np.zeros(len(turn), np.int64)
    number[choosers] = ranks_in(group[choosers])
    ordered = pairs.take(order_of(number[pairs.found], pairs.found, pairs.iou, pairs.truth))
    ends = np.flatnonzero(np.diff(number[ordered.found])) + 1
    bounds = np.r_[0, ends, len(ordered.found)]
    return [ordered.take(np.arange(begin, end)) for begin, end in pairwise(bounds.tolist())]


def match(rounds: Sequence[Pairs], count: int, ignored: Flags, crowd: Flags, thresholds: Floats) -> Ints:
    """(t, count) the truth that each prediction takes at each threshold, -1 for none.

    Each takes, in its round, the free truth with the largest overlap, at least the threshold; of equal ones the last. Those not ``ignored``
    come first, whatever the overlap; a crowd is never used up. (COCOeval.evaluateImg says the same for one picture, class and threshold.)
    """
    matched = np.full((len(thresholds), count), -1, np.int64)
    taken = np.zeros((len(thresholds), len(ignored)), np.bool_)
    least = np.minimum(thresholds, _ALMOST_ONE)[:, None]
    for pairs in rounds:
        _one_round(pairs, least, ignored, crowd, taken, matched)
    return matched


def _one_round(pairs: Pairs, least: Floats, ignored: Flags, crowd: Flags, taken: Flags, matched: Ints) -> None:
    count = len(pairs.found)
    starts = np.flatnonzero(np.r_[True, pairs.found[1:] != pairs.found[:-1]])
    worth = np.arange(count) + np.where(ignored[pairs.truth], 0, count)
    open_ = (pairs.iou >= least) & (~taken[:, pairs.truth] | crowd[pairs.truth])
    best = np.maximum.reduceat(np.where(open_, worth, -1), starts, axis=1)
    setting, place = np.nonzero(best >= 0)
    truth = pairs.truth[best[setting, place] % count]
    matched[setting, pairs.found[starts[place]]] = truth
    taken[setting, truth] = True

"""Differences between strategies that ran on the same seeds: intervals, tests, and what a curve saves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon
from sklearn.isotonic import IsotonicRegression

Floats = npt.NDArray[np.float64]
_RESAMPLES = 10_000


def area(quality: Floats) -> Floats:
    """(S,) mean quality (S, rounds) over the rounds after the first, which all strategies share."""
    mean: Floats = quality[:, 1:].mean(axis=1)
    return mean


def interval(differences: Floats, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval (percentiles) of the mean of paired differences."""
    dice = np.random.default_rng(seed)
    means = dice.choice(differences, (_RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def chance(differences: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where all differences are 0 or there is but one."""
    if len(differences) < 2 or not np.any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def holm(chances: Sequence[float]) -> list[float]:
    """The p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(chances, kind="stable")
    stepped = np.maximum.accumulate([(len(chances) - place) * chances[index] for place, index in enumerate(order)])
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def cost_to_reach(cost: Floats, quality: Floats, goal: float) -> float | None:
    """What it costs to reach the quality ``goal``: rounds (R,) of cost and mean quality, made monotone, read between rounds. None: never."""
    rising = IsotonicRegression().fit_transform(np.arange(len(quality)), quality)
    if rising[-1] < goal:
        return None
    first = int(np.argmax(rising >= goal))
    if first == 0 or rising[first] == rising[first - 1]:
        return float(cost[first])
    part = (goal - rising[first - 1]) / (rising[first] - rising[first - 1])
    return float(cost[first - 1] + part * (cost[first] - cost[first - 1]))


def at_equal_cost(cost: Floats, quality: Floats, other_cost: Floats, other_quality: Floats, points: int = 50) -> float:
    """Mean difference of two curves (R,) where both have paid as much, from the first round to the smaller end; NaN where nothing is shared."""
    begin, end = max(cost[0], other_cost[0]), min(cost[-1], other_cost[-1])
    if end <= begin:
        return float("nan")
    grid = np.linspace(begin, end, points + 1)[1:]
    return float((np.interp(grid, cost, quality) - np.interp(grid, other_cost, other_quality)).mean())

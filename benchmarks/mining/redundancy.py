"""T4, redundancy: how many of the picks show what another pick or a labelled picture shows already, in pools with known near-duplicates.

Digits with copies (a linear classifier), scenes of digits in runs of near-duplicates (the tiny detector). ``needless`` picks share their group
with an earlier pick or a labelled picture; ``things`` are the groups seen; the radius is the greatest distance of a candidate from what is picked
or labelled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.measure import Sheet
from benchmarks.mining import curves, paired
from benchmarks.mining.data import digits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DIGITS = ("random", "entropy", "margin", "core_set", "badge", "typiclust", "default")
_SCENES = ("random", "entropy", "csf", "core_set", "typiclust", "ppal", "default")
_FIRST, _BUDGET = 60, 60


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``redundancy [digits] [scenes] [--seeds N]``."""
    parser = argparse.ArgumentParser(prog="scripts/bench mining.redundancy", description=__doc__)
    parser.add_argument("settings", nargs="*", choices=["digits", "scenes", []], default=["digits"] if quick else ["digits", "scenes"])
    parser.add_argument("--seeds", type=int, default=2 if quick else 10)
    asked = parser.parse_args(list(arguments))
    measure = {"digits": (of_digits, _DIGITS), "scenes": (of_scenes, _SCENES)}
    return [_sheet(name, {seed: measure[name][0](seed, measure[name][1]) for seed in range(asked.seeds)}) for name in asked.settings]


def of_digits(seed: int, strategies: Sequence[str]) -> dict[str, tuple[float, int, float]]:
    """Needless share, things and radius of each strategy's picks on the redundant digits; needs no torch."""
    one = digits("redundant", seed)
    rows = np.random.default_rng([seed, 2]).permutation(len(one.pool_y))[:_FIRST]
    model = LogisticRegression(max_iter=300).fit(one.pool_x[rows], one.pool_y[rows])
    probabilities = np.zeros((len(one.pool_y), 10))
    probabilities[:, model.classes_] = model.predict_proba(one.pool_x)
    rest = np.setdiff1d(np.arange(len(one.pool_y)), rows)
    chosen = {
        name: curves.buy_classified(name, probabilities, one.pool_x, rows, one.pool_y[rows], rest, _BUDGET, seed) for name in strategies
    }
    return {name: (*needless(one.groups, picks, rows), radius(one.pool_x, picks, rows)) for name, picks in chosen.items()}


def of_scenes(seed: int, strategies: Sequence[str]) -> dict[str, tuple[float, int, float]]:
    """The same on scenes, after the base has learnt the first labels."""
    course = curves.SceneCourse(curves.SETTINGS["scenes"], seed)
    pixels = curves.small_pixels(course.pool)
    chosen = {name: course.buy(name, course.base, course.first, 0) for name in strategies}
    return {
        name: (*needless(course.pool.groups, picks, course.first), radius(pixels, picks, course.first)) for name, picks in chosen.items()
    }


def needless(groups: Ints, picks: Ints, labelled: Ints) -> tuple[float, int]:
    """The share of the picks that add no new group to the labelled ones and the earlier picks, and how many groups all of them show."""
    seen = set(groups[labelled].tolist())
    known = len(seen)
    seen |= set(groups[picks].tolist())
    return 1 - (len(seen) - known) / max(1, len(picks)), len(seen)


def radius(points: npt.NDArray[np.floating[Any]], picks: Ints, labelled: Ints) -> float:
    """The greatest distance from a row of ``points`` (n, d) to the nearest picked or labelled one."""
    centres = points[np.concatenate([labelled, picks])].astype(float)
    squared = (points.astype(float) ** 2).sum(1)[:, None] + (centres**2).sum(1)[None] - 2 * points.astype(float) @ centres.T
    return float(np.sqrt(np.clip(squared.min(1), 0, None).max()))


def _sheet(setting: str, by_seed: dict[int, dict[str, tuple[float, int, float]]]) -> Sheet:
    rows = []
    table = {name: np.array([found[name] for found in by_seed.values()]) for name in next(iter(by_seed.values()))}
    for name in sorted(table, key=lambda name: table[name][:, 0].mean()):
        low, high = paired.interval(table[name][:, 0] - table["random"][:, 0])
        rows.append(
            [
                name,
                f"{table[name][:, 0].mean():.1%}",
                f"{low:+.1%}..{high:+.1%}",
                f"{table[name][:, 1].mean():.1f}",
                f"{table[name][:, 2].mean():.3f}",
            ]
        )
    title = f"redundancy, {setting}: picks out of a pool with known near-duplicates, {len(by_seed)} seeds"
    return Sheet(title, ["strategy", "needless picks", "against random (95 %)", "things seen", "radius"], rows)

"""The digits curve in a few seconds and without torch: a linear classifier, four rounds. What the suite runs; ``curves`` is the measurement."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.measure import Sheet
from benchmarks.mining import curves, paired
from benchmarks.mining.data import DIGIT_SETTINGS, digits

FIRST, BUDGET, ROUNDS = 20, 20, 4
_STRATEGIES = ("random", "anti", "entropy", "margin", "core_set", "badge", "default")

Floats = npt.NDArray[np.float64]


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``short [--seeds N]``."""
    parser = argparse.ArgumentParser(prog="scripts/bench mining.short", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2 if quick else 10)
    asked = parser.parse_args(list(arguments))
    return [_sheet(setting, asked.seeds) for setting in (DIGIT_SETTINGS[:1] if quick else DIGIT_SETTINGS)]


def curve(setting: str, strategy: str, seed: int) -> Floats:
    """(rounds + 1,) macro accuracy of a linear classifier as labels are bought; the same for the same arguments."""
    one = digits(setting, seed)
    rows = np.random.default_rng([seed, 2]).permutation(len(one.pool_y))[:FIRST]
    quality = []
    for step in range(ROUNDS + 1):
        model = LogisticRegression(max_iter=300).fit(one.pool_x[rows], one.pool_y[rows])
        right = model.predict(one.test_x) == one.test_y
        quality.append(float(np.mean([right[one.test_y == label].mean() for label in range(10)])))
        if step < ROUNDS:
            probabilities = np.zeros((len(one.pool_y), 10))
            probabilities[:, model.classes_] = model.predict_proba(one.pool_x)
            rest = np.setdiff1d(np.arange(len(one.pool_y)), rows)
            bought = curves.buy_classified(strategy, probabilities, one.pool_x, rows, one.pool_y[rows], rest, BUDGET, seed)
            rows = np.concatenate([rows, bought])
    return np.array(quality)


def _sheet(setting: str, seeds: int) -> Sheet:
    found = {name: np.stack([curve(setting, name, seed) for seed in range(seeds)]) for name in _STRATEGIES}
    rows = []
    for name in sorted(found, key=lambda name: -paired.area(found[name]).mean()):
        differences = paired.area(found[name]) - paired.area(found["random"])
        low, high = paired.interval(differences)
        rows.append(
            [
                name,
                f"{paired.area(found[name]).mean():.4f}",
                f"{differences.mean():+.4f} ({low:+.4f}..{high:+.4f})",
                f"{(differences > 0).sum()}/{seeds}",
            ]
        )
    return Sheet(
        f"digits, {setting}, linear: {FIRST} + {ROUNDS} x {BUDGET}, {seeds} seeds",
        ["strategy", "AULC", "against random (95 %)", "wins"],
        rows,
    )

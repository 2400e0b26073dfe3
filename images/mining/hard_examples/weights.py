"""Weights of the seven algorithms that make the coefficient a calibrated probability of "the model is badly wrong here", from labelled pictures.

The stock weights are ModelArts'; nothing shows that their sum is a probability. Here a picture of a labelled hold-out counts as hard when the
model's error on it, 1 - F1, is in the worst fifth; logistic regression with weights from 0 on (a high strength never makes a picture easier) then
gives weights and an intercept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mining.boxes import Boxes, Floats, disagreement
from mining.hard_examples.answer import Answer
from mining.hard_examples.parameters import DEFAULTS, Parameters, format_weights

WORST_SHARE = 0.2
LEAST_PICTURES = 20
_ROUNDS, _TOLERANCE = 5000, 1e-9


@dataclass(frozen=True)
class Fitted:
    """``weights`` by algorithm, ``intercept``, and ``config``, the weights as ``comprehensive_algo_config``.

    ``ece_before`` and ``ece_after``: expected calibration error on the same pictures, of the coefficient with the parameters as they were and as
    fitted; ``ece_held_out``: of 5-fold cross-validation, which is what to believe. The same of ``auroc_...``.
    """

    weights: Mapping[str, float]
    intercept: float
    config: str
    pictures: int
    hard: int
    ece_before: float
    ece_after: float
    ece_held_out: float
    auroc_before: float
    auroc_held_out: float

    def parameters(self, parameters: Parameters = DEFAULTS) -> Parameters:
        """The parameters with these weights: the coefficient is then a probability."""
        return replace(parameters, comprehensive_algo_config=self.config, intercept=self.intercept)


def picture_errors(predictions: Sequence[Boxes], labelled: Sequence[Boxes], low: float = 0.3) -> Floats:
    """(n,) 1 - F1 of the predicted boxes from the score ``low`` on against the labelled ones."""
    return np.array([disagreement(found.at_least(low), truth) for found, truth in zip(predictions, labelled, strict=True)], np.float64)


def worst_fifth(errors: Floats) -> np.ndarray:
    """(n,) True for the pictures whose error is in the top quintile; none whose error is 0."""
    cut = np.quantile(errors, 1 - WORST_SHARE)
    return (errors >= cut) & (errors > 0)


def fit_weights(answer: Answer, errors: Floats, *, penalty: float = 1e-2) -> Fitted:
    """Fits to the strengths of an answer about labelled pictures; ``errors`` (n,) of the model on them, in the order of its rows.

    ``penalty``: of the squared weights, so that separable data has an answer. Raises ``ValueError`` where there are fewer than 20 pictures, or all
    are equally wrong.
    """
    hard = worst_fifth(np.asarray(errors, np.float64))
    if len(hard) != len(answer.rows):
        raise ValueError(f"there are {len(hard)} errors for {len(answer.rows)} pictures")
    if len(hard) < LEAST_PICTURES or hard.all() or not hard.any():
        raise ValueError(
            f"{int(hard.sum())} of {len(hard)} pictures are hard: {LEAST_PICTURES} pictures are needed, some hard and some not"
        )
    names, table = strength_table(answer)
    weights, intercept = logistic(table, hard, penalty)
    by_name = dict(zip(names, weights.tolist(), strict=True))
    before = np.array([row.coefficient for row in answer.rows])
    held_out = _cross_validated(table, hard, penalty)
    return Fitted(
        by_name,
        intercept,
        format_weights(by_name),
        len(hard),
        int(hard.sum()),
        calibration_error(before, hard),
        calibration_error(_sigmoid(table @ weights + intercept), hard),
        calibration_error(held_out, hard),
        area_under_curve(before, hard),
        area_under_curve(held_out, hard),
    )


def strength_table(answer: Answer) -> tuple[list[str], Floats]:
    """The algorithms that ran and their strengths (n, a); one that is not known is 0, as in the coefficient."""
    names = sorted({name for row in answer.rows for name in row.strengths})
    table = np.array([[row.strengths[name] for name in names] for row in answer.rows], np.float64).reshape(len(answer.rows), -1)
    return names, np.nan_to_num(table)


def logistic(table: Floats, hard: np.ndarray, penalty: float) -> tuple[Floats, float]:
    """Weights (a,) from 0 on and the intercept that minimise the mean logistic loss + penalty / 2 |w sd|^2, sd being the columns' standard deviations:
    a strength that differs little from picture to picture, as most do, may need a large weight.

    Accelerated projected gradient (FISTA with restarts): convex, so that there is one answer.
    """
    spread = table.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.hstack([table / spread, np.ones((len(table), 1))])
    target = hard.astype(np.float64)
    step = 1.0 / (np.linalg.norm(design, 2) ** 2 / (4 * len(design)) + penalty)
    shrink = np.append(np.full(table.shape[1], penalty), 0.0)
    point = previous = np.append(np.zeros(table.shape[1]), np.log(target.mean() / (1 - target.mean())))
    momentum = 1.0
    for _ in range(_ROUNDS):
        gradient = design.T @ (_sigmoid(design @ point) - target) / len(design) + shrink * point
        moved = point - step * gradient
        moved[:-1] = np.maximum(moved[:-1], 0.0)
        if np.abs(moved - point).max() < _TOLERANCE:
            break
        restart = float((point - moved) @ (moved - previous)) > 0
        following = 1.0 if restart else (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        point = moved + (0.0 if restart else (momentum - 1) / following) * (moved - previous)
        previous, momentum = moved, following
    return previous[:-1] / spread, float(previous[-1])


def calibration_error(probabilities: Floats, hard: np.ndarray, bins: int = 10) -> float:
    """ECE: the mean distance, over bins of equal width and weighted by their pictures, of the mean probability from the share that is hard."""
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = [abs(probabilities[place == one].mean() - hard[place == one].mean()) * (place == one).sum() for one in np.unique(place)]
    return float(sum(gaps) / len(probabilities))


def area_under_curve(scores: Floats, hard: np.ndarray) -> float:
    """AUROC: how often a hard picture has a higher score than one that is not; ties count half."""
    values, place = np.unique(scores, return_inverse=True)
    counts = np.bincount(place, minlength=len(values))
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positive = int(hard.sum())
    return float((ranks[place][hard].sum() - positive * (positive + 1) / 2) / (positive * (len(hard) - positive)))


def _cross_validated(table: Floats, hard: np.ndarray, penalty: float, folds: int = 5) -> Floats:
    """The probability of each picture by weights that were fitted without its fold; folds have equal shares of hard ones."""
    fold = np.empty(len(hard), np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(hard == kind)
        fold[rows] = np.arange(len(rows)) % folds
    found = np.empty(len(hard))
    for one in range(folds):
        inside = fold != one
        if hard[inside].all() or not hard[inside].any():
            inside = np.ones(len(hard), bool)
        weights, intercept = logistic(table[inside], hard[inside], penalty)
        found[fold == one] = _sigmoid(table[fold == one] @ weights + intercept)
    return found


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-values.clip(-700, 700)))
    return result

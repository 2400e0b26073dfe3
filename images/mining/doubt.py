"""How unsure a score or a distribution is: each in [0, 1], 0 log 0 = 0."""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats

#: Mass that a list of class scores leaves out before it counts as a bin of its own (a list of the five best classes sums to less than 1).
_MISSING = 1e-3


def x_log_x(values: Floats) -> Floats:
    """x ln x, 0 at 0. Elementwise."""
    positive = values > 0
    result: Floats = np.where(positive, values * np.log(np.where(positive, values, 1.0)), 0.0)
    return result


def binary_entropy(scores: Floats) -> Floats:
    """Entropy in bits of "it is there / it is not there": 1 at 0.5, 0 at 0 and 1. Elementwise."""
    doubt: Floats = -(x_log_x(scores) + x_log_x(1.0 - scores)) / np.log(2.0)
    return doubt


def binary_margin(scores: Floats) -> Floats:
    """1 - the difference of "it is there" and "it is not": 1 at 0.5, 0 at 0 and 1. Elementwise."""
    doubt: Floats = 1.0 - np.abs(2.0 * scores - 1.0)
    return doubt


def categorical_entropy(probabilities: Floats) -> Floats:
    """(n,) entropy of rows (n, C) over that of an even guess, in [0, 1]. Mass that a row leaves out counts as one more class."""
    full = with_missing(probabilities)
    if full.shape[1] < 2:
        return np.zeros(len(full))
    doubt: Floats = -x_log_x(full).sum(axis=1) / np.log(full.shape[1])
    return np.clip(doubt, 0.0, 1.0)


def with_missing(probabilities: Floats) -> Floats:
    """The rows (n, C), with one more column for the missing mass where any row leaves some out."""
    missing = 1.0 - probabilities.sum(axis=1)
    if not (missing > _MISSING).any():
        return probabilities
    return np.column_stack([probabilities, np.clip(missing, 0.0, None)])


def least_confidence(probabilities: Floats) -> Floats:
    """(n,) 1 - the highest probability of each row (n, C)."""
    doubt: Floats = 1.0 - probabilities.max(axis=1)
    return doubt


def margin(probabilities: Floats) -> Floats:
    """(n,) 1 - (highest - second highest) of each row (n, C); with one class, against "not this class"."""
    full = with_missing(probabilities)
    if full.shape[1] < 2:
        return binary_margin(full[:, 0])
    best = np.partition(full, full.shape[1] - 2, axis=1)[:, -2:]
    doubt: Floats = 1.0 - (best[:, 1] - best[:, 0])
    return doubt


def jensen_shannon(left: Floats, right: Floats) -> Floats:
    """(n,) Jensen-Shannon divergence of rows (n, C) in bits, in [0, 1]: 0 for equal rows, 1 for rows that share no class."""
    middle = (left + right) / 2
    nats = (x_log_x(left) + x_log_x(right)).sum(axis=1) / 2 - x_log_x(middle).sum(axis=1)
    bits: Floats = np.clip(nats / np.log(2.0), 0.0, 1.0)
    return bits

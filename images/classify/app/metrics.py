"""How right and how well calibrated a classifier is. Only numpy.

``logits`` (n, C) are what the network says of n pictures; ``labels`` their class ids, the picture's label first. A guess that is any of a
picture's labels is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Metrics:
    """Shares in [0, 1]. ``mean_class_accuracy``: of the classes that occur, each counted the same. ``loss`` in nats, ``ece`` as Guo et al. 2017."""

    top1: float
    top5: float
    mean_class_accuracy: float
    loss: float
    ece: float


def evaluate(logits: FloatArray, labels: Sequence[Sequence[int]], temperature: float = 1.0) -> Metrics:
    """All numbers of n > 0 pictures; the temperature changes loss and ece only."""
    order = np.argsort(-logits, axis=1, kind="stable")
    right = np.array([guess[0] in known for guess, known in zip(order, labels, strict=True)])
    near = np.array([bool(set(guess[:5].tolist()) & set(known)) for guess, known in zip(order, labels, strict=True)])
    first = np.array([known[0] for known in labels])
    by_class = [float(right[first == label].mean()) for label in np.unique(first)]
    probabilities = softmax(logits, temperature)
    loss = negative_log_likelihood(logits, first, temperature)
    return Metrics(float(right.mean()), float(near.mean()), float(np.mean(by_class)), loss, calibration_error(probabilities.max(1), right))


def softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """(n, C) probabilities; each row sums to 1."""
    scaled = np.asarray(logits, float) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    result: FloatArray = powers / powers.sum(1, keepdims=True)
    return result


def negative_log_likelihood(logits: FloatArray, labels: NDArray[np.integer], temperature: float = 1.0) -> float:
    """The mean over pictures, in nats."""
    chosen = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def calibration_error(confidence: FloatArray, right: NDArray[np.bool_]) -> float:
    """The expected calibration error over 15 equal bins: how far confidence and the share of right guesses lie apart, on average."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float(confidence[places == b].mean() - right[places == b].mean())) * float((places == b).mean()) for b in np.unique(places)]
    return float(sum(gaps))


def fit_temperature(logits: FloatArray, labels: NDArray[np.integer]) -> float:
    """The temperature with the least loss (Guo et al., arXiv 1706.04599), by golden section on its logarithm, in [0.05, 20].

    The loss has one minimum in it. A classifier that is always right has none: the coldest would be taken, so labels are believed to 99 % only.
    """

    def loss(place: float) -> float:
        spread = 0.01 * float(-np.log(np.maximum(softmax(logits, np.exp(place)), 1e-12)).mean())
        return 0.99 * negative_log_likelihood(logits, labels, float(np.exp(place))) + spread

    low, high = float(np.log(COLDEST)), float(np.log(HOTTEST))
    for _ in range(40):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return float(np.exp((low + high) / 2))

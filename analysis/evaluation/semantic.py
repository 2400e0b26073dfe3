"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.definitions import defined
from analysis.evaluation.objects import InputError, Ints
from analysis.evaluation.operating import ratio

IGNORED_VALUE = 255


class Pixels:
    """Counts pixels, picture by picture, so that no more than one is in memory.

    The classes are ``class_names``, numbered from 0. ``background``: whether a pixel of no class (the number ``len(class_names)``) is a class of
    its own, last in the tables and in the means; otherwise the truth's background does not count for any class's Acc, and a prediction there is
    wrong all the same.
    """

    def __init__(self, class_names: Sequence[str], *, background: bool) -> None:
        self.class_names = tuple(class_names)
        self.background = background
        self.counts: Ints = np.zeros((len(class_names) + 1,) * 2, np.int64)
        self.pictures = 0

    def add(self, truth: NDArray[Any], predicted: NDArray[Any], ignored: int | None = IGNORED_VALUE) -> None:
        """(height, width) each: class numbers; ``len(class_names)`` is the background, and ``ignored`` in the truth leaves a pixel out.

        With 255 or more classes hand over another ``ignored``, or None. Raises ``InputError``.
        """
        if truth.shape != predicted.shape:
            raise InputError(f"the truth is {truth.shape}, the prediction {predicted.shape} pixels")
        if ignored is not None and 0 <= ignored < len(self.counts):
            raise InputError(f"ignored: {ignored} is the number of a class")
        kept = np.ones(truth.shape, np.bool_) if ignored is None else truth != ignored
        true, guess = truth[kept].astype(np.int64), predicted[kept].astype(np.int64)
        size = len(self.counts)
        if true.size and (min(true.min(), guess.min()) < 0 or max(true.max(), guess.max()) >= size):
            raise InputError(f"a pixel with a number that is none of the {len(self.class_names)} classes")
        self.counts += np.bincount(true * size + guess, minlength=size * size).reshape(size, size)
        self.pictures += 1

    def document(self) -> dict[str, Any]:
        """All numbers so far."""
        size = len(self.counts) - (0 if self.background else 1)
        right = np.diag(self.counts)[:size]
        true, guess = self.counts.sum(axis=1)[:size], self.counts.sum(axis=0)[:size]
        accuracy, overlap = ratio(right, true), ratio(right, true + guess - right)
        whole = self.counts[:size] if not self.background else self.counts
        metrics = {"aAcc": _number(ratio(right.sum()[None], whole.sum()[None])), "mAcc": _number(accuracy), "mIoU": _number(overlap)}
        names = [*self.class_names, "(background)"][:size]
        classes = [
            {
                "class": name,
                "pixels": int(true[row]),
                "predicted_pixels": int(guess[row]),
                "Acc": _number(accuracy[[row]]),
                "IoU": _number(overlap[[row]]),
            }
            for row, name in enumerate(names)
        ]
        background = (
            "a class of its own"
            if self.background
            else "no class: its pixels count for no Acc, and not for aAcc; predictions there count against IoU"
        )
        return {
            "kind": "semantic segmentation",
            "background": background,
            "ignored_value": IGNORED_VALUE,
            "pictures": self.pictures,
            "metrics": metrics,
            "classes": classes,
            "definitions": defined([*metrics, "Acc", "IoU"]),
        }


def _number(values: NDArray[np.float64]) -> float | None:
    """The mean of those that are numbers."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None

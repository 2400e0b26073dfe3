"""Which class is taken for which, with the background as one more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.evaluation.matching import match, rounds_of
from analysis.evaluation.objects import Ints, Objects, order_of, ranks_in
from analysis.evaluation.operating import Operating
from analysis.evaluation.overlap import overlaps


@dataclass(frozen=True)
class Confusion:
    """Cells that are not 0, (c,) each, by true, then predicted class. Sparse: 2,000 classes have four million cells.

    The class ``class_count`` is the background: as true class a prediction of nothing, as predicted class an object that was missed.
    """

    truth: Ints
    predicted: Ints
    count: Ints
    class_count: int

    def table(self) -> Ints:
        """(k + 1, k + 1) all cells: row true, column predicted."""
        cells = np.zeros((self.class_count + 1, self.class_count + 1), np.int64)
        cells[self.truth, self.predicted] = self.count
        return cells


def cells_of(truth: Ints, predicted: Ints, class_count: int) -> Confusion:
    """The cells of pairs of classes, (n,) each."""
    keys, counts = np.unique(truth * (class_count + 1) + predicted, return_counts=True)
    return Confusion(keys // (class_count + 1), keys % (class_count + 1), counts.astype(np.int64), class_count)


def confuse(truth: Objects, found: Objects, at: Operating, class_count: int, iou: float, *, masks: bool = False) -> Confusion:
    """First every prediction of the right class, as ``at`` has it, so that the diagonal counts its TPs. What is left is matched whatever the class,
    surest first, each with the free object that it overlaps most; then what is left has the background as partner."""
    left = np.flatnonzero(at.sure & at.wrong)
    missed = np.flatnonzero(~at.ignored & (at.found_by < 0))
    taken = _across(truth.take(missed), found.take(left), iou, masks)
    right = found.label[at.sure & at.right]
    background = np.int64(class_count)
    of_found = np.where(taken >= 0, np.r_[truth.label[missed], background][taken], background)
    never = np.ones(len(missed), np.bool_)
    never[taken[taken >= 0]] = False
    rows = np.concatenate([right, of_found, truth.label[missed[never]]])
    columns = np.concatenate([right, found.label[left], np.full(int(never.sum()), background)])
    return cells_of(rows, columns, class_count)


def _across(truth: Objects, found: Objects, iou: float, masks: bool) -> Ints:
    """(n,) the object each takes, whatever its class."""
    pairs = overlaps(found, truth, found.image, truth.image, iou, masks=masks)
    order = order_of(found.image, -found.score)
    turn = np.empty(len(found), np.int64)
    turn[order] = ranks_in(found.image[order])
    nobody = np.zeros(len(truth), np.bool_)
    matched: Ints = match(rounds_of(pairs, turn, found.image), len(found), nobody, nobody, np.array([iou]))[0]
    return matched

"""What a model does at one overlap and one confidence: which boxes are right, wrong, missed; and which confidence is the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.coco import judge
from analysis.evaluation.matching import match, rounds_of
from analysis.evaluation.objects import Flags, Floats, Ints, Objects, order_of, ranks_in
from analysis.evaluation.overlap import overlaps
from analysis.evaluation.precision import Hits, hits

#: Marks of predictions and of true objects. MTP is YMIR's word for a true object that was found ("matched true positive").
TP, FP, FN, MTP, IGNORED = "TP", "FP", "FN", "MTP", "IGNORED"


@dataclass(frozen=True)
class Operating:
    """``truth_of``: (n,) the true object that each prediction takes, at any confidence, -1 for none; ``right``, ``wrong``: (n,), any confidence.

    ``sure``: (n,) whether the score reaches the confidence. ``found_by``: (g,) the sure prediction that takes each true object, -1 for none;
    ``touched_by``: (g,) how many sure predictions of its class overlap it enough, however they were judged. ``nearest``: (n,) the true object with the
    largest overlap, -1 for none that is enough; ``overlap``: (n,) with the object taken, or else with the nearest; 0 for none.
    ``ignored``: (g,) crowds and difficult objects.
    """

    truth_of: Ints
    right: Flags
    wrong: Flags
    sure: Flags
    found_by: Ints
    touched_by: Ints
    nearest: Ints
    overlap: Floats
    ignored: Flags

    def found_marks(self) -> NDArray[np.str_]:
        """(n,) TP, FP, or IGNORED: not sure enough, or it took a crowd or a difficult object."""
        return np.where(self.sure & self.right, TP, np.where(self.sure & self.wrong, FP, IGNORED))

    def truth_marks(self) -> NDArray[np.str_]:
        """(g,) MTP, FN, or IGNORED."""
        return np.where(self.ignored, IGNORED, np.where(self.found_by >= 0, MTP, FN))


def operate(truth: Objects, found: Objects, class_count: int, iou: float, confidence: float, *, masks: bool = False) -> Operating:
    """Matches by COCO's rule without a limit on detections. A prediction's match does not depend on those below it, so one matching
    serves every confidence."""
    group = found.group(class_count)
    turn = _turns(found, group)
    ignored = truth.crowd | truth.difficult
    pairs = overlaps(found, truth, group, truth.group(class_count), iou, masks=masks)
    matched = match(rounds_of(pairs, turn, group), len(found), ignored, truth.crowd, np.array([iou]))
    right, wrong = judge(matched, ignored, np.zeros(len(found), np.bool_))
    sure = found.score >= confidence
    truth_of = matched[0]
    found_by: Ints = np.full(len(truth), -1, np.int64)
    takers = np.flatnonzero(sure & (truth_of >= 0))
    takers = takers[order_of(-found.score[takers])][::-1]  # of a crowd's many, the surest is named
    found_by[truth_of[takers]] = takers
    touched_by = np.bincount(pairs.truth[sure[pairs.found]], minlength=len(truth))
    nearest, overlap = np.full(len(found), -1, np.int64), np.zeros(len(found))
    by_overlap = order_of(pairs.iou)
    nearest[pairs.found[by_overlap]] = pairs.truth[by_overlap]
    overlap[pairs.found[by_overlap]] = pairs.iou[by_overlap]
    taken = truth_of[pairs.found] == pairs.truth
    overlap[pairs.found[taken]] = pairs.iou[taken]
    return Operating(truth_of, right[0], wrong[0], sure, found_by, touched_by, nearest, overlap, ignored)


def _turns(found: Objects, group: Ints) -> Ints:
    order = order_of(group, -found.score)
    turn = np.empty(len(found), np.int64)
    turn[order] = ranks_in(group[order])
    return turn


# ----------------------------------------------------------------------------------------------------------------- counts


@dataclass(frozen=True)
class Counts:
    """(k,) each, integers: right and wrong predictions, and true objects that were missed."""

    tp: Ints
    fp: Ints
    fn: Ints

    def precision(self) -> Floats:
        """NaN where nothing was predicted."""
        return ratio(self.tp, self.tp + self.fp)

    def recall(self) -> Floats:
        """NaN where there is nothing to find."""
        return ratio(self.tp, self.tp + self.fn)

    def f1(self) -> Floats:
        """NaN where there is neither."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def total(self) -> Counts:
        """All classes together."""
        return Counts(*(np.array([column.sum()]) for column in (self.tp, self.fp, self.fn)))


def count(truth: Objects, found: Objects, at: Operating, class_count: int) -> Counts:
    """By class."""

    def number(labels: Ints) -> Ints:
        return np.bincount(labels, minlength=class_count)

    missed = ~at.ignored & (at.found_by < 0)
    return Counts(number(found.label[at.sure & at.right]), number(found.label[at.sure & at.wrong]), number(truth.label[missed]))


def ratio(part: NDArray[np.int64] | Floats, whole: NDArray[np.int64] | Floats) -> Floats:
    """NaN where the whole is 0."""
    shares: Floats = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) != 0)
    return shares


# ------------------------------------------------------------------------------------------------------------------ curves


@dataclass(frozen=True)
class Curves:
    """The precision and recall of each class at every confidence where another object is found: rows by class, falling confidence.

    ``hits.precision`` is the precision there, ``hits.best`` the envelope; ``confidence``, ``recall``: (h,) too. ``positives``: (k,).
    """

    hits: Hits
    label: Ints
    confidence: Floats
    recall: Floats
    positives: Ints


def curves(truth: Objects, found: Objects, at: Operating, class_count: int) -> Curves:
    """At the overlap of ``at``, for all confidences."""
    order = order_of(found.label, -found.score, found.image)
    begin = np.searchsorted(found.label[order], np.arange(class_count + 1))
    made = hits(at.right[order], at.wrong[order], begin)
    label = found.label[order][made.row]
    positives = np.bincount(truth.label[~at.ignored], minlength=class_count)
    return Curves(made, label, found.score[order][made.row], made.number / np.maximum(positives, 1)[label], positives)


def best_f1(truth: Objects, found: Objects, at: Operating, class_count: int) -> tuple[Floats, Floats]:
    """(k,) the largest F1 that any confidence gives, and the highest such confidence; NaN where nothing is found at any."""
    order = order_of(found.label, -found.score)
    label, score = found.label[order], found.score[order]
    begin = np.searchsorted(label, np.arange(class_count + 1))
    tp, fp = (_within(flags[order], begin, label) for flags in (at.right, at.wrong))
    positives = np.bincount(truth.label[~at.ignored], minlength=class_count)
    f1 = ratio(2 * tp, tp + fp + positives[label])
    last = np.r_[(label[1:] != label[:-1]) | (score[1:] != score[:-1]), True][: len(label)]  # a confidence takes all of equal score
    f1 = np.where(last & (tp > 0), f1, -1.0)
    best, where = np.full(class_count, np.nan), np.full(class_count, np.nan)
    for k in np.flatnonzero(np.diff(begin)):
        place = begin[k] + int(np.argmax(f1[begin[k] : begin[k + 1]]))
        if f1[place] > 0:
            best[k], where[k] = f1[place], score[place]
    return best, where


def _within(flags: Flags, begin: Ints, label: Ints) -> Ints:
    """How many so far, of the same class."""
    before = np.r_[0, np.cumsum(flags)]
    so_far: Ints = before[1:] - before[begin[label]]
    return so_far

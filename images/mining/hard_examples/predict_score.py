"""predict_score_mining (reasons 0 and 1): nothing found, or found without confidence.

Detection: the share of the boxes from ``score_threshold_low`` on that are not above ``score_threshold_up``, as Huawei HiLens' filter CSF has it; or,
with ``score_rule: expected``, 1 - the F1 to be expected.
Classification: with p1 >= p2 the two highest probabilities, ``m = 1 - (p1 - p2)``, hard when p1 is not above ``score_threshold_up`` or m exceeds
``margin``.
"""

from __future__ import annotations

import numpy as np

from mining.boxes import Boxes, Floats
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.verdict import NONE, Codes, MissingInputError, Verdict, of_one_code


def judge(question: Question, parameters: Parameters) -> Verdict:
    if question.probabilities is not None:
        return _judge_classes(question.probabilities, parameters)
    if question.predictions is None:
        raise MissingInputError("there are no predictions")
    return _judge_boxes(question, parameters)


def is_empty(boxes: Boxes, parameters: Parameters) -> bool:
    """Nothing was found: there is no box from ``empty_below`` on."""
    return not (boxes.scores >= parameters.empty_below).any()


def _judge_boxes(question: Question, parameters: Parameters) -> Verdict:
    low, up = parameters.score_threshold_low, parameters.score_threshold_up
    rule = _unsure_share if parameters.score_rule == "share" else _expected_error
    of_empty = _strength_of_empty(question, parameters)
    strengths = np.full(len(question), np.nan)
    codes: list[Codes] = [NONE] * len(question)
    of_boxes: list[list[Codes]] = [[] for _ in question.ids]
    for row, boxes in enumerate(question.predictions or ()):
        if boxes is None:
            continue
        empty = is_empty(boxes, parameters)
        strengths[row] = of_empty if empty else rule(boxes.scores, low, up)
        if strengths[row] > 0:
            codes[row] = {0 if empty else 1: float(strengths[row])}
        of_boxes[row] = [{1: float(1.0 - score)} if low <= score <= up else NONE for score in boxes.scores]
    fired = strengths > 0
    report = {"strength_of_empty": of_empty, "empty": sum(0 in found for found in codes)}
    return Verdict(strengths, fired, codes, of_boxes, report=report)


def _unsure_share(scores: Floats, low: float, up: float) -> float:
    kept = scores[scores >= low]
    return float((kept <= up).mean()) if len(kept) else 0.0


def _expected_error(scores: Floats, low: float, up: float) -> float:
    """1 - the F1 that the boxes from ``low`` on have if a score is the probability that there is an object; 0 if none is unsure.

    Of n such boxes the sum of their scores is right; the objects are that sum and the scores of the boxes that were left out, from half of ``low`` on.
    """
    possible = scores[scores >= low / 2]
    kept = possible[possible >= low]
    if not (possible <= up).any():
        return 0.0
    return float(1.0 - 2.0 * kept.sum() / (len(kept) + possible.sum()))


def _strength_of_empty(question: Question, parameters: Parameters) -> float:
    """What a picture without boxes counts: under ``prior`` the less, the more training pictures are empty."""
    if parameters.empty_policy == "ignore":
        return 0.0
    labelled = question.training.boxes if question.training is not None else None
    known = [boxes for boxes in labelled or () if boxes is not None]
    if parameters.empty_policy == "hard" or not known:
        return 1.0
    return 1.0 - sum(is_empty(boxes, parameters) for boxes in known) / len(known)


def _judge_classes(probabilities: Floats, parameters: Parameters) -> Verdict:
    known = np.nan_to_num(np.asarray(probabilities, np.float64))
    best_two = np.zeros((len(known), 2))
    width = min(2, known.shape[1])
    best_two[:, :width] = -np.sort(-known, axis=1)[:, :width]
    first, gap = best_two[:, 0], best_two[:, 0] - best_two[:, 1]
    if parameters.margin_rule == "uncertainty":
        strengths = 1.0 - gap
        fired = (first <= parameters.score_threshold_up) | (strengths > parameters.margin)
    else:
        too_sure = gap > parameters.margin
        strengths = np.where(too_sure, gap, 1.0 - first)
        fired = (first <= parameters.score_threshold_up) | too_sure
    unknown = first <= 0
    return of_one_code(1, np.where(unknown, np.nan, strengths.clip(0, 1)), fired & ~unknown)

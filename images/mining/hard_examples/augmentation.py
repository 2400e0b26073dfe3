"""aug_consistent_mining (reasons 19 to 29): the model says something else of the mirrored, cropped, blurred, ... picture.

Of each augmentation a the disagreement D_a with the plain prediction: 1 - F1 of boxes (same class, IoU 0.5, scores from ``score_threshold_low``),
boxes mapped back; of classes 1 where the likeliest differs, else their Jensen-Shannon divergence. ``s = sum of w_a D_a / sum of w_a``; the reason
of a fires from D_a = 0.5. Where the same views of at least 20 training pictures are known, D_a is replaced by its percentile among theirs, and
fires above the 90th: turned or inverted pictures, which most detectors never saw, disagree everywhere and would say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mining.boxes import Boxes, Floats, match
from mining.hard_examples.compare import box_disagreement, class_disagreement, complete
from mining.hard_examples.neighbours import LEAST_REFERENCES, percentiles
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Predictions, Question, Training
from mining.hard_examples.reasons import OPERATION_CODES
from mining.hard_examples.verdict import NONE, Codes, MissingInputError, Verdict

FIRES_FROM = 0.5
FIRES_ABOVE_PERCENTILE = 0.9
_Answers = Predictions | Floats


def judge(question: Question, parameters: Parameters) -> Verdict:
    weights = {name: weight for name, weight in parameters.operation_weights.items() if weight > 0}
    plain = _plain(question)
    views = {name: view for name, view in (question.views or {}).items() if name in weights}
    if not views:
        raise MissingInputError("there are no predictions for changed pictures: it needs a model")
    low = parameters.score_threshold_low
    raw = {name: _disagreements(plain, view, low) for name, view in views.items()}
    usual = _usual(question.training, low, views)
    strengths = {name: percentiles(values, usual[name]) if name in usual else values for name, values in raw.items()}
    fires = {name: _fires(raw[name], strengths[name], calibrated=name in usual) for name in raw}
    codes, of_pictures = _of_pictures(strengths, fires, weights, len(question))
    missing = sorted(set(weights) - set(views))
    report = {"operations": sorted(views), "not_asked": missing, "calibrated": sorted(usual), "mean_disagreement": _means(raw)}
    columns = {f"disagreement.{name}": values for name, values in raw.items()}
    return Verdict(
        of_pictures, np.array([bool(found) for found in codes], bool), codes, _of_boxes(question, weights, low), columns, report=report
    )


def _plain(question: Question) -> _Answers:
    plain = question.probabilities if question.probabilities is not None else question.predictions
    if plain is None:
        raise MissingInputError("there are no predictions")
    return plain


def _disagreements(plain: _Answers, view: _Answers, low: float) -> Floats:
    """(n,) in [0, 1], NaN where one of the two is unknown."""
    if isinstance(plain, np.ndarray):
        return class_disagreement(complete(plain), complete(np.asarray(view, np.float64)))
    return np.array([box_disagreement(before, after, low) for before, after in zip(plain, view, strict=True)], np.float64)


def _usual(training: Training | None, low: float, wanted: Mapping[str, _Answers]) -> dict[str, Floats]:
    """The known disagreements on the training data, of the augmentations with enough of them."""
    if training is None or training.views is None:
        return {}
    plain = training.probabilities if training.probabilities is not None else training.predictions
    if plain is None:
        return {}
    found = {name: _disagreements(plain, view, low) for name, view in training.views.items() if name in wanted}
    return {name: values for name, values in found.items() if np.isfinite(values).sum() >= LEAST_REFERENCES}


def _fires(raw: Floats, strengths: Floats, *, calibrated: bool) -> np.ndarray:
    return (strengths > FIRES_ABOVE_PERCENTILE) if calibrated else (raw >= FIRES_FROM)


def _of_pictures(
    strengths: Mapping[str, Floats], fires: Mapping[str, np.ndarray], weights: Mapping[str, float], count: int
) -> tuple[list[Codes], Floats]:
    """The weighted mean over the augmentations that are known of a picture, and their parts."""
    known = np.zeros(count)
    for name, values in strengths.items():
        known += np.where(np.isfinite(values), weights[name], 0.0)
    codes: list[dict[int, float]] = [{} for _ in range(count)]
    total = np.zeros(count)
    for name, values in strengths.items():
        parts = np.divide(weights[name] * np.nan_to_num(values), known, out=np.zeros(count), where=known > 0)
        total += parts
        for row in np.flatnonzero(fires[name]):
            codes[row][OPERATION_CODES[name]] = float(parts[row])
    return list(codes), np.where(known > 0, total.clip(0, 1), np.nan)


def _of_boxes(question: Question, weights: Mapping[str, float], low: float) -> list[list[Codes]] | None:
    """The augmentations in which a box is not found again."""
    if question.predictions is None:
        return None
    views = {name: view for name, view in (question.views or {}).items() if name in weights}
    share = {name: weights[name] / sum(weights[other] for other in views) for name in views}
    return [
        [] if boxes is None else _lost(boxes, {name: view[row] for name, view in views.items()}, share, low)
        for row, boxes in enumerate(question.predictions)
    ]


def _lost(boxes: Boxes, views: Mapping[str, Boxes | None], share: Mapping[str, float], low: float) -> list[Codes]:
    counted = np.flatnonzero(boxes.scores >= low)
    codes: list[dict[int, float]] = [{} for _ in range(len(boxes))]
    for name, view in views.items():
        if view is None:
            continue
        again = {left for left, _ in match(boxes.keep(counted), view.at_least(low))}
        for place, box in enumerate(counted):
            if place not in again:
                codes[box][OPERATION_CODES[name]] = share[name]
    return [found or NONE for found in codes]


def _means(raw: Mapping[str, Floats]) -> dict[str, float | None]:
    return {name: float(np.nanmean(values)) if np.isfinite(values).any() else None for name, values in raw.items()}

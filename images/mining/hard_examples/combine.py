"""The operator: the seven algorithms that have what they need, their weighted sum, the threshold, and the reasons in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mining.boxes import Boxes, Floats
from mining.hard_examples import anomaly, augmentation, clustering, distribution, predict_score, sequential, similarity
from mining.hard_examples.answer import Answer, BoxRow, Row
from mining.hard_examples.parameters import DEFAULTS, Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.verdict import NONE, Codes, MissingInputError, Verdict

#: By the name that ``comprehensive_algo_config`` has for it.
JUDGES: Mapping[str, Callable[[Question, Parameters], Verdict]] = {
    "clustering_mining": clustering.judge,
    "aug_consistent_mining": augmentation.judge,
    "feature_distribution_mining": distribution.judge,
    "sequential_mining": sequential.judge,
    "image_similarity_mining": similarity.judge,
    "predict_score_mining": predict_score.judge,
    "anomaly_detection_mining": anomaly.judge,
}


def find_hard_examples(question: Question, parameters: Parameters = DEFAULTS) -> Answer:
    """A row for each candidate in the order of the ids, and the report of the run.

    ``coefficient = min(1, sum of w s)`` over the algorithms that fired, 1 where nothing was found and ``empty_policy`` is ``hard``; a picture is
    hard from ``algo_hard_threshold`` on. An algorithm that lacks its input is skipped, with the reason in the report. The same question and seed
    give the same answer, whatever the order of the candidates.
    """
    # By id, so that not even the last bit of a sum depends on the order in which the candidates came.
    ordered = question.take(sorted(range(len(question)), key=lambda place: question.ids[place]))
    verdicts, skipped = _judge(ordered, parameters)
    sums = _weighted_sums(verdicts, parameters.algorithm_weights, len(ordered))
    found = {ordered.ids[place]: _row(place, ordered, parameters, verdicts, sums) for place in range(len(ordered))}
    rows = tuple(found[name] for name in question.ids)
    return Answer(rows, _report(question, parameters, verdicts, skipped, rows))


def _judge(question: Question, parameters: Parameters) -> tuple[dict[str, Verdict], dict[str, str]]:
    """The verdicts, and why the other algorithms gave none."""
    verdicts: dict[str, Verdict] = {}
    skipped: dict[str, str] = {}
    for name, weight in parameters.algorithm_weights.items():
        if weight == 0:
            skipped[name] = "its weight is 0"
            continue
        try:
            verdicts[name] = JUDGES[name](question, parameters)
        except MissingInputError as error:
            skipped[name] = str(error)
    return verdicts, skipped


class _Sums:
    """(n,) each: ``fired``, the sum of w s over the algorithms that fired; ``all`` over those that judged; neither is clipped."""

    def __init__(self, fired: Floats, every: Floats) -> None:
        self.fired, self.all = fired, every


def _weighted_sums(verdicts: Mapping[str, Verdict], weights: Mapping[str, float], count: int) -> _Sums:
    fired, every = np.zeros(count), np.zeros(count)
    for name in sorted(verdicts):
        part = weights[name] * np.nan_to_num(verdicts[name].strengths)
        fired += np.where(verdicts[name].fired, part, 0.0)
        every += part
    return _Sums(fired, every)


def _row(place: int, question: Question, parameters: Parameters, verdicts: Mapping[str, Verdict], sums: _Sums) -> Row:
    weights = parameters.algorithm_weights
    contributions: dict[int, float] = {}
    for name, verdict in verdicts.items():
        for code, part in verdict.codes[place].items():
            contributions[code] = weights[name] * part
    coefficient = _coefficient(parameters, sums, place, empty=0 in contributions)
    return Row(
        id=question.ids[place],
        coefficient=coefficient,
        raw_sum=float(sums.fired[place]),
        total=float(sums.all[place]),
        hard=coefficient >= parameters.algo_hard_threshold,
        codes=_descending(contributions),
        strengths={name: float(verdict.strengths[place]) for name, verdict in verdicts.items()},
        columns={name: float(values[place]) for verdict in verdicts.values() for name, values in verdict.columns.items()},
        boxes=_box_rows(place, question, weights, verdicts),
        details={name: verdict.details[place] for name, verdict in verdicts.items() if place in verdict.details},
    )


def _coefficient(parameters: Parameters, sums: _Sums, place: int, *, empty: bool) -> float:
    if empty and parameters.empty_policy == "hard":
        return 1.0
    if parameters.intercept is None:
        return min(1.0, float(sums.fired[place]))
    return 1.0 / (1.0 + math.exp(-max(-700.0, parameters.intercept + float(sums.all[place]))))


def _descending(contributions: Codes) -> tuple[int, ...]:
    """The reasons with the greatest contribution first, ties by number."""
    return tuple(sorted(contributions, key=lambda code: (-contributions[code], code)))


def _box_rows(place: int, question: Question, weights: Mapping[str, float], verdicts: Mapping[str, Verdict]) -> tuple[BoxRow, ...]:
    boxes = question.predictions[place] if question.predictions is not None else None
    if boxes is None:
        return ()
    parts = [(weights[name], verdict.boxes[place]) for name, verdict in verdicts.items() if verdict.boxes is not None]
    return tuple(
        _box_row(index, boxes, [(weight, found[index] if found else NONE) for weight, found in parts]) for index in range(len(boxes))
    )


def _box_row(index: int, boxes: Boxes, parts: list[tuple[float, Codes]]) -> BoxRow:
    contributions = {code: weight * part for weight, codes in parts for code, part in codes.items()}
    x1, y1, x2, y2 = (float(value) for value in boxes.corners[index])
    hardness = min(1.0, float(sum(contributions.values())))
    return BoxRow((x1, y1, x2, y2), int(boxes.classes[index]), float(boxes.scores[index]), hardness, _descending(contributions))


def _report(
    question: Question, parameters: Parameters, verdicts: Mapping[str, Verdict], skipped: Mapping[str, str], rows: tuple[Row, ...]
) -> dict[str, Any]:
    """What a person needs to judge the answer, JSON-ready."""
    found = Counter(code for row in rows for code in row.codes)
    return {
        "pictures": len(rows),
        "hard": sum(row.hard for row in rows),
        "kind": question.kind,
        "embedder": question.embedder,
        "seed": parameters.seed,
        "parameters": parameters.to_dict(),
        "ran": sorted(verdicts),
        "skipped": dict(skipped),
        "not_judged": {name: int(np.isnan(verdict.strengths).sum()) for name, verdict in verdicts.items()},
        "codes": {str(code): found[code] for code in sorted(found)},
        "algorithms": {name: dict(verdict.report) for name, verdict in verdicts.items() if verdict.report},
        "warnings": [warning for verdict in verdicts.values() for warning in verdict.report.get("warnings", ())],
    }

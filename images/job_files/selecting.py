"""From a pool of candidates to the files of a mining job, through the mining core."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mining import STRATEGIES, Boxes, Labelled, MiningError, Pool, Selection, Strategy, select
from mining.hard_examples import Answer, Question, Row, find_hard_examples

from job_files.contract import CONFIG_ERROR, IMAGE_FORMAT_ERROR, Env, ImageError, read_index, write_aside, write_ranking
from job_files.pictures import log

REASONS_FILE = "mining-reasons.jsonl"
HARD_EXAMPLES = "hard_examples"
#: What a model is shown changed: of strategies that ask it twice, and of the operator by ModelArts' default.
STRATEGY_VIEWS = ("fliplr", "scale", "translate", "gaussianblur")
OPERATOR_VIEWS = ("crop", "fliplr", "gaussianblur")
#: Boxes from this score on are shown to people.
SHOWN_SCORE = 0.3
#: The share of the candidates that counts as chosen where a job does not say how many will be labelled.
USUAL_SHARE = 0.1

#: Boxes of a picture, for people, by its id.
BoxesOf = Callable[[str], list[dict[str, Any]]]
#: Class ids of a picture, one for each object or label, from the annotation file that speaks of it.
LabelsOf = Callable[[Path, Path], Sequence[int]]


def offered(kind: str, gives: frozenset[str]) -> dict[str, Strategy]:
    """The strategies for a kind of model ("detection", "classification") that can give ``gives``, by name."""
    return {name: each for name, each in STRATEGIES.items() if each.for_use and kind in each.kinds and each.needs_of(kind) <= gives}


def choose_strategy(name: str, kind: str, gives: frozenset[str]) -> Strategy | None:
    """The strategy, None for the hard-example operator, which is not one. Raises ImageError 300001 that lists what there is."""
    if name == HARD_EXAMPLES:
        return None
    known = offered(kind, gives)
    if name not in known:
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {name!r}: choose one of {', '.join([*known, HARD_EXAMPLES])}")
    return known[name]


def views_for(strategy: Strategy | None, kind: str) -> tuple[str, ...]:
    """Which changed pictures (``mining.hard_examples.views``) the model is to look at, too; None is the hard-example operator."""
    if strategy is None:
        return OPERATOR_VIEWS
    return STRATEGY_VIEWS if "views" in strategy.needs_of(kind) else ()


def rank(pool: Pool, strategy: str, *, budget: int, seed: int) -> Selection:
    """The ranking of the readable candidates. ``budget`` 0 is a tenth of them. Raises ImageError for a pool or request that cannot be ranked."""
    if not len(pool):
        raise ImageError(IMAGE_FORMAT_ERROR, "none of the candidates can be read")
    count = budget or max(1, round(USUAL_SHARE * len(pool)))
    try:
        selection = select(pool, strategy, budget=count, seed=seed)
    except MiningError as error:
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {strategy}: {error}") from error
    for sentence in selection.skipped:
        log(f"mining: {sentence}")
    return selection


def write_selection(env: Env, selection: Selection, paths: Mapping[str, Path], boxes_of: BoxesOf | None = None) -> None:
    """result.tsv with every candidate, and beside it mining-reasons.jsonl with why each of the chosen ones is.

    The coefficient of a chosen picture, in (0, 1], is the share of the candidates that come after it: scores of strategies have no common scale.
    """
    result, count = env.output("mining_result_file"), len(selection.picks)
    rows = [
        _reasons(paths[pick.id], 1 - place / count, pick.reasons, boxes_of(pick.id) if boxes_of else [])
        for place, pick in enumerate(selection.selected)
    ]
    write_aside(result.with_name(REASONS_FILE), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_ranking(result, [(str(paths[pick.id]), pick.score) for pick in selection.picks])
    log(f"mining: ranked {len(selection.picks)} pictures by {selection.strategy}, chose {len(rows)}")


def shown_boxes(boxes: Boxes, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The boxes that people are shown beside the reasons; ``hardness`` is the doubt whether a box is right, in bits."""
    sure = boxes.at_least(SHOWN_SCORE)
    p = np.clip(sure.scores, 1e-6, 1 - 1e-6)
    doubt = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return [
        {
            "box": [round(float(v), 1) for v in (corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1])],
            "class_name": class_names[label],
            "score": round(float(score), 4),
            "hardness": round(float(hard), 4),
        }
        for corners, label, score, hard in zip(sure.corners, sure.classes, sure.scores, doubt, strict=True)
    ]


def labelled_counts(env: Env, labels_of: LabelsOf, given: Sequence[str], known: Sequence[str]) -> Labelled:
    """How often each class is labelled in the training data that the job was given, in the order of the model's classes; nothing without any.

    ``labels_of`` reads the labels of a picture: positions in ``given``, the job's classes. ``known`` are the model's.
    """
    if not env.inputs.get("training_index_file"):
        return Labelled()
    rows = [row for row in read_index(env.input("training_index_file")) if len(row) > 1 and row[1]]
    counts = np.zeros(len(known))
    for row in rows:
        for label in labels_of(Path(row[0]), Path(row[1])):
            if given[label] in known:
                counts[known.index(given[label])] += 1
    return Labelled(class_counts=counts, image_count=len(rows))


def find_hard(question: Question) -> Answer:
    """The hard-example operator with ModelArts' parameters; what it had to leave out is logged."""
    if not len(question):
        raise ImageError(IMAGE_FORMAT_ERROR, "none of the candidates can be read")
    answer = find_hard_examples(question)
    for name, reason in answer.report["skipped"].items():
        log(f"mining: {name} is left out: {reason}")
    return answer


def write_hard(env: Env, answer: Answer, paths: Mapping[str, Path], class_names: Sequence[str]) -> None:
    """result.tsv with the coefficient of every candidate, and beside it mining-reasons.jsonl with numbers, sentences and boxes of the hard ones.

    Of equal coefficients the one with the larger sum comes first, as the operator ranks them: result.tsv keeps that order.
    """
    result, ranked = env.output("mining_result_file"), answer.ranked()
    rows = [
        {**_reasons(paths[row.id], row.coefficient, row.texts, _hard_boxes(row, class_names)), "reasons": list(row.codes)}
        for row in ranked
        if row.hard
    ]
    write_aside(result.with_name(REASONS_FILE), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_ranking(result, [(str(paths[row.id]), row.coefficient) for row in ranked])
    log(f"mining: ranked {len(ranked)} pictures by {HARD_EXAMPLES}, {len(rows)} are hard")


def _hard_boxes(row: Row, class_names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "box": [round(v, 1) for v in (x1, y1, x2 - x1, y2 - y1)],
            "class_name": class_names[box.class_index],
            "score": round(box.score, 4),
            "hardness": round(box.hardness, 4),
            "reasons": list(box.codes),
        }
        for box in row.boxes
        for x1, y1, x2, y2 in [box.corners]
    ]


def _reasons(path: Path, coefficient: float, texts: Sequence[str], boxes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"image": str(path), "score": round(coefficient, 6), "hard": True, "texts": list(texts), **({"boxes": boxes} if boxes else {})}

"""image_similarity_mining (reason 3): far from the training data of the predicted class. Deep nearest neighbours (Sun et al., ICML 2022), class by class.

The raw value is the mean distance to the 5 nearest training items of the predicted class; its strength is the percentile among the leave-one-out distances
of that class. Fires above 0.95. O(candidates x training items x d).
"""

from __future__ import annotations

import math

import numpy as np

from mining.boxes import Floats
from mining.hard_examples.items import Items, box_codes, mean_by_row, paired_items
from mining.hard_examples.neighbours import LEAST_REFERENCES, covering_rows, mean_distance, percentiles, without_copies
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.verdict import MissingInputError, Verdict, of_one_code

CODE = 3
NEIGHBOURS = 5
FIRES_ABOVE = 0.95


def judge(question: Question, parameters: Parameters) -> Verdict:
    asked, known = paired_items(question, parameters.score_threshold_low)
    known = _one_of_each(known)
    reference = _covering(known, parameters.similarity_sample_ratio, parameters.seed)
    expected = _distances(known, reference, leave_out=True)
    if np.isfinite(expected).sum() < LEAST_REFERENCES:
        raise MissingInputError(f"the training data has {len(known)} different items with a class; {LEAST_REFERENCES} are needed")
    strengths = _strengths(_distances(asked, reference, leave_out=False), asked, expected, known)
    of_pictures, fired = _of_pictures(question, strengths, asked, _strengths(expected, known, expected, known), known)
    boxes = None if question.predictions is None else box_codes(CODE, strengths, strengths > FIRES_ABOVE, asked, question.predictions)
    return of_one_code(CODE, of_pictures, fired, boxes, report=_report(question, known, reference, asked))


def _one_of_each(known: Items) -> Items:
    """Without copies inside a class."""
    kept = [np.flatnonzero(known.classes == name) for name in np.unique(known.classes)]
    return known.take(np.concatenate([np.zeros(0, np.int64), *(rows[without_copies(known.vectors[rows])] for rows in kept)]))


def _covering(known: Items, ratio: float, seed: int) -> Items:
    """The share of each class that candidates are compared with, at least one of each, chosen so that it still covers the class."""
    classes = [np.flatnonzero(known.classes == name) for name in np.unique(known.classes)]
    kept = [rows[covering_rows(known.vectors[rows], max(1, math.ceil(ratio * len(rows))), seed)] for rows in classes]
    return known.take(np.concatenate([np.zeros(0, np.int64), *kept]))


def _distances(items: Items, reference: Items, *, leave_out: bool) -> Floats:
    """(q,) to the reference of the same class, without those of the same training picture if ``leave_out``."""
    distances = np.full(len(items), np.nan)
    for name in np.unique(items.classes):
        mine, others = items.classes == name, reference.classes == name
        groups = (items.rows[mine], reference.rows[others]) if leave_out else (None, None)
        distances[mine] = mean_distance(
            items.vectors[mine], reference.vectors[others], NEIGHBOURS, query_groups=groups[0], groups=groups[1]
        )
    return distances


def _strengths(distances: Floats, items: Items, expected: Floats, known: Items) -> Floats:
    """Percentiles among the distances of the class; among those of all classes where it has too few."""
    strengths = np.full(len(items), np.nan)
    for name in np.unique(items.classes):
        mine = items.classes == name
        of_class = expected[(known.classes == name) & np.isfinite(expected)]
        strengths[mine] = percentiles(distances[mine], of_class if len(of_class) >= LEAST_REFERENCES else expected)
    return strengths


def _of_pictures(question: Question, strengths: Floats, asked: Items, usual: Floats, known: Items) -> tuple[Floats, np.ndarray]:
    """(n,) strengths and what fires. A picture of many items has their mean, as a percentile among the means of the training pictures."""
    means = mean_by_row(strengths, asked.rows, len(question))
    if question.kind == "classification":
        return means, means > FIRES_ABOVE
    usual_means = mean_by_row(usual, known.rows, int(known.rows.max(initial=-1)) + 1)
    if np.isfinite(usual_means).sum() < LEAST_REFERENCES:
        return means, means > FIRES_ABOVE
    ranked = percentiles(means, usual_means)
    return ranked, ranked > FIRES_ABOVE


def _report(question: Question, known: Items, reference: Items, asked: Items) -> dict[str, object]:
    def count(items: Items) -> dict[str, int]:
        return {_name(question, int(name)): int((items.classes == name).sum()) for name in np.unique(items.classes)}

    unseen = sorted({_name(question, int(name)) for name in np.setdiff1d(asked.classes, known.classes)})
    pooled = sorted(name for name, size in count(known).items() if size <= LEAST_REFERENCES)
    warnings = [f"image_similarity_mining: no training data of the predicted classes {', '.join(unseen)}: not judged"] if unseen else []
    return {"training_items": count(known), "compared_with": count(reference), "pooled_classes": pooled, "warnings": warnings}


def _name(question: Question, index: int) -> str:
    return question.class_names[index] if 0 <= index < len(question.class_names) else str(index)

"""What is embedded, of candidates and training data alike: pictures with a class, or boxes with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mining.boxes import Boxes, Floats, Ints
from mining.hard_examples.neighbours import Vectors, known_rows, normalised
from mining.hard_examples.question import Question, Training
from mining.hard_examples.verdict import MissingInputError


@dataclass(frozen=True)
class Items:
    """q embedded things: ``vectors`` (q, d) of length 1, their ``classes``, the ``rows`` of their pictures, and ``boxes``, which box of the picture,
    -1 for none.

    ``weights`` (q, C): a distribution over the classes, where a prediction has one; else None.
    """

    vectors: Vectors
    classes: Ints
    rows: Ints
    boxes: Ints
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, chosen: Ints) -> Items:
        weights = None if self.weights is None else self.weights[chosen]
        return Items(self.vectors[chosen], self.classes[chosen], self.rows[chosen], self.boxes[chosen], weights)


def check_embedder(question: Question) -> Training:
    """The training data, once it is known that its embeddings can be compared with the question's. Raises ``MissingInputError``."""
    if question.training is None:
        raise MissingInputError("there is no training data")
    if question.embedder != question.training.embedder:
        raise MissingInputError(
            f"the training data was embedded by {question.training.embedder or 'an unnamed model'!r}, the candidates by "
            f"{question.embedder or 'an unnamed model'!r}: their distances say nothing"
        )
    return question.training


def paired_items(question: Question, low: float) -> tuple[Items, Items]:
    """The items of the candidates and of the training data, in one space. Raises ``MissingInputError``.

    Classification: pictures with their class. Detection: boxes with an embedding of their own, if both sides have those; else pictures, once for
    each class in them. Boxes below the score ``low`` do not count; labelled ones have the score 1.
    """
    asked, known = _paired(question, low)
    if asked.vectors.shape[1:] != known.vectors.shape[1:]:
        widths = f"{known.vectors.shape[1]} and {asked.vectors.shape[1]}"
        raise MissingInputError(f"the embeddings of the training data and of the candidates have {widths} numbers: they cannot be compared")
    return asked, known


def _paired(question: Question, low: float) -> tuple[Items, Items]:
    training = check_embedder(question)
    if question.kind == "classification":
        asked = _picture_items(question.embeddings, _predicted(question), "candidates")
        known = _picture_items(training.embeddings, _labels(training), "training pictures")
        return asked, known
    if question.predictions is None:
        raise MissingInputError("there are no predictions")
    if training.boxes is None:
        raise MissingInputError("the training data has no boxes")
    if _has_features(question.predictions) and _has_features(training.boxes):
        return _box_items(question.predictions, low), _box_items(training.boxes, low)
    asked = _class_items(question.embeddings, question.predictions, low, "candidates")
    return asked, _class_items(training.embeddings, training.boxes, low, "training pictures")


def _predicted(question: Question) -> Ints:
    probabilities = np.nan_to_num(np.asarray(question.probabilities, np.float64))
    best = np.argmax(probabilities, axis=1) if len(probabilities) else np.zeros(0, np.int64)
    return np.where(probabilities.max(axis=1, initial=0) > 0, best, -1)


def _labels(training: Training) -> Ints:
    if training.labels is None:
        raise MissingInputError("the training data has no labels")
    return np.asarray(training.labels, np.int64)


def _picture_items(embeddings: Floats | None, classes: Ints, whose: str) -> Items:
    vectors = _vectors(embeddings, whose)
    rows = np.flatnonzero(known_rows(vectors) & (classes >= 0))
    return Items(vectors[rows], classes[rows], rows, np.full(len(rows), -1))


def _class_items(embeddings: Floats | None, predictions: Sequence[Boxes | None], low: float, whose: str) -> Items:
    vectors = _vectors(embeddings, whose)
    known = known_rows(vectors)
    pairs = [
        (row, int(found))
        for row, boxes in enumerate(predictions)
        if boxes is not None and known[row]
        for found in np.unique(boxes.classes[boxes.scores >= low])
    ]
    rows, classes = np.array(pairs, np.int64).reshape(-1, 2).T
    return Items(vectors[rows], classes, rows, np.full(len(rows), -1))


def _vectors(embeddings: Floats | None, whose: str) -> Vectors:
    if embeddings is None:
        raise MissingInputError(f"there are no embeddings of the {whose}")
    return normalised(embeddings)


def _has_features(predictions: Sequence[Boxes | None]) -> bool:
    filled = [boxes for boxes in predictions if boxes is not None and len(boxes)]
    return bool(filled) and all(boxes.features is not None for boxes in filled)


def _box_items(predictions: Sequence[Boxes | None], low: float) -> Items:
    found = [(row, boxes, np.flatnonzero(boxes.scores >= low)) for row, boxes in enumerate(predictions) if boxes is not None and len(boxes)]
    vectors = normalised(np.concatenate([_features(boxes)[kept] for _, boxes, kept in found]))
    classes = np.concatenate([boxes.classes[kept] for _, boxes, kept in found])
    rows = np.concatenate([np.full(len(kept), row) for row, _, kept in found])
    places = np.concatenate([kept for _, _, kept in found])
    usable = np.flatnonzero(known_rows(vectors) & (classes >= 0))
    return Items(vectors, classes, rows, places, _probabilities(found)).take(usable)


def _features(boxes: Boxes) -> Floats:
    return np.zeros((0, 1)) if boxes.features is None else boxes.features


def _probabilities(found: list[tuple[int, Boxes, Ints]]) -> Floats | None:
    parts = [boxes.probabilities[kept] for _, boxes, kept in found if boxes.probabilities is not None]
    return np.concatenate(parts) if len(parts) == len(found) else None


def mean_by_row(values: Floats, rows: Ints, count: int) -> Floats:
    """(count,) mean of the known values of each row; NaN where there is none."""
    known = np.isfinite(values)
    sums = np.bincount(rows[known], values[known], minlength=count)
    sizes = np.bincount(rows[known], minlength=count)
    mean: Floats = np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)
    return mean


def box_codes(
    code: int, values: Floats, fired: np.ndarray, items: Items, predictions: Sequence[Boxes | None]
) -> list[list[dict[int, float]]]:
    """For each picture and box the code, where its item fired."""
    codes: list[list[dict[int, float]]] = [[{} for _ in range(0 if boxes is None else len(boxes))] for boxes in predictions]
    for item in np.flatnonzero(fired & (items.boxes >= 0)):
        codes[items.rows[item]][items.boxes[item]] = {code: float(values[item])}
    return codes

"""What the operator is asked: the candidates with all that is known of them, and the same of the training data. Any part may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mining.boxes import Boxes, Floats
from mining.hard_examples.reasons import BOX_FEATURES, FEATURES

Kind = Literal["detection", "classification"]
#: The parts that have a row per picture.
_ROWS = ("boxes", "labels", "predictions", "probabilities", "features", "box_features", "embeddings", "names", "order", "hashes")
#: Of each picture in the order of the ids; None where the model did not look at it.
Predictions = Sequence[Boxes | None]


@dataclass(frozen=True)
class Training:
    """What the model was trained on; m rows in each part. Classes are positions in the question's ``class_names``.

    ``boxes``: labelled boxes (score 1), or better the model's predictions on the training pictures, as then both sides have the detector's bias;
    their ``features`` are embeddings of boxes, in the space of the question's. ``labels`` (m,): classes of pictures; below 0 is unknown.
    ``probabilities`` (m, C) of the model on these pictures, where it was asked. ``features`` (m, 14) in the order of ``reasons.FEATURES``, NaN
    where unknown; ``box_features``: per picture (b, 6) in the order of ``reasons.BOX_FEATURES``. ``embeddings`` (m, d) by ``embedder``. ``views``:
    as the question's, of the training pictures; compared with ``predictions`` (detection) or ``probabilities`` of them.
    """

    boxes: Predictions | None = None
    labels: npt.NDArray[np.int64] | None = None
    probabilities: Floats | None = None
    predictions: Predictions | None = None
    features: Floats | None = None
    box_features: Sequence[Floats] | None = None
    embeddings: Floats | None = None
    embedder: str = ""
    views: Mapping[str, Predictions | Floats] | None = None

    def __len__(self) -> int:
        parts = (self.boxes, self.labels, self.probabilities, self.predictions, self.features, self.embeddings)
        return next((len(part) for part in parts if part is not None), 0)


@dataclass(frozen=True)
class Question:
    """The candidates; n rows in each part, in the order of ``ids``.

    Detection: ``predictions``, boxes whose ``classes`` are positions in ``class_names`` and whose ``features``, where they are there, are
    embeddings of the boxes. Classification: ``probabilities`` (n, C); rows may sum to less than 1, as in lists of the five best: what is missing
    belongs to classes that were not named. A row of zeros or NaN was not predicted. ``features`` (n, 14) in the order of ``reasons.FEATURES``, NaN
    where unknown; ``box_features``: per picture (b, 6) in the order of ``BOX_FEATURES``. ``embeddings`` (n, d) by the model named ``embedder``; a
    row with NaN is unknown. ``order``: (video, frame) of each picture; where it is absent, it is read from ``names`` (or the ids), if these are
    numbered. ``hashes`` (n,) uint64: 64-bit dHashes, which say what is nearly the same where there are no embeddings. ``views``: by augmentation,
    the predictions for the changed picture, boxes mapped back (``views.predict_views``). Raises ``ValueError`` where parts do not fit, or a box has
    what is no number.
    """

    ids: Sequence[str]
    class_names: Sequence[str] = ()
    predictions: Predictions | None = None
    probabilities: Floats | None = None
    features: Floats | None = None
    box_features: Sequence[Floats] | None = None
    embeddings: Floats | None = None
    embedder: str = ""
    names: Sequence[str] | None = None
    order: Sequence[tuple[str, float]] | None = None
    hashes: npt.NDArray[np.uint64] | None = None
    views: Mapping[str, Predictions | Floats] | None = None
    training: Training | None = None

    def __post_init__(self) -> None:
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("two pictures have the same id")
        if self.predictions is not None and self.probabilities is not None:
            raise ValueError("a question is of detection (predictions) or of classification (probabilities), not of both")
        _check_rows(self, len(self.ids), "")
        for id_, boxes in zip(self.ids, self.predictions or (), strict=False):
            if boxes is not None and (problem := _problem(boxes, len(self.class_names))):
                raise ValueError(f"a prediction of {id_} {problem}")
        if self.training is not None:
            _check_rows(self.training, len(self.training), "training ")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of each id."""
        return {id_: row for row, id_ in enumerate(self.ids)}

    def take(self, rows: Sequence[int]) -> Question:
        """The candidates of those rows, in that order, with the same training data."""
        chosen = {name: _taken(getattr(self, name), rows) for name in _ROWS if hasattr(self, name)}
        views = None if self.views is None else {name: _taken(view, rows) for name, view in self.views.items()}
        return replace(self, ids=[self.ids[row] for row in rows], views=views, **chosen)

    @property
    def kind(self) -> Kind:
        return "classification" if self.probabilities is not None else "detection"


def _problem(boxes: Boxes, classes: int) -> str:
    """What is wrong with the boxes; empty for nothing. A score that is no number would be neither above nor below any bound."""
    if not np.isfinite(boxes.corners).all():
        return "has corners that are no finite numbers"
    if not ((boxes.scores >= 0) & (boxes.scores <= 1 + 1e-6)).all():
        return "has a score that is not between 0 and 1"
    if len(boxes) and not 0 <= boxes.classes.min() <= boxes.classes.max() < (classes or np.inf):
        return f"has a class that is not one of the {classes}"
    return ""


def _taken(part: Any, rows: Sequence[int]) -> Any:
    if isinstance(part, np.ndarray):
        return part[np.asarray(rows, np.int64)]
    return None if part is None else [part[row] for row in rows]


def _check_rows(part: Question | Training, count: int, whose: str) -> None:
    for name in _ROWS:
        rows = getattr(part, name, None)
        if rows is not None and len(rows) != count:
            raise ValueError(f"{whose}{name} has {len(rows)} rows for {count} pictures")
    for name, rows in (part.views or {}).items():
        if len(rows) != count:
            raise ValueError(f"{whose}view {name} has {len(rows)} rows for {count} pictures")
    if part.features is not None and np.shape(part.features)[1:] != (len(FEATURES),):
        raise ValueError(f"{whose}features has the shape {np.shape(part.features)}, not ({count}, {len(FEATURES)})")
    for values in part.box_features or ():
        if np.shape(values)[1:] != (len(BOX_FEATURES),):
            raise ValueError(f"{whose}box_features has a row of the shape {np.shape(values)}, not (boxes, {len(BOX_FEATURES)})")

"""Other people's strategies on the same inputs: scikit-activeml, modAL and baal. None of them mines detections.

On detections they get what they can read: the pictures' embeddings, or one class distribution per picture pooled from its boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from baal.active import heuristics
from modAL.batch import uncertainty_batch_sampling
from modAL.uncertainty import entropy_sampling
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet, TypiClust, UncertaintySampling

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """What a strategy may look at. Rows of all arrays are those of the whole pool; ``labelled`` and ``candidates`` are row numbers.

    ``probabilities`` (n, C); ``hidden`` (n, d) of the model trained last; ``raw`` (n, e) of the pictures alone; ``sampled`` (n, C, samples) on demand.
    """

    labelled: Ints
    labels: Ints
    candidates: Ints
    probabilities: Floats
    hidden: npt.NDArray[np.float32]
    raw: npt.NDArray[np.float32]
    sampled: Callable[[], Floats]
    seed: int


Peer = Callable[[Known, int], Ints]


class Answers(SkactivemlClassifier):  # type: ignore[misc]
    """A classifier that has been trained elsewhere: it answers with the rows of a table of probabilities, looked up by the first column."""

    def __init__(self, table: Any = None, classes: Any = None, missing_label: Any = np.nan, random_state: Any = None) -> None:
        super().__init__(classes=classes, missing_label=missing_label, random_state=random_state)
        self.table = table

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Answers:  # noqa: N803, ARG002
        return self

    def predict_proba(self, X: Any, return_embeddings: bool = False) -> Any:  # noqa: N803
        rows = np.asarray(X)[:, 0].astype(int)
        table = np.asarray(self.table["probabilities"])[rows]
        return (table, np.asarray(self.table["hidden"])[rows]) if return_embeddings else table


def _labels_or_nan(known: Known) -> Floats:
    y = np.full(len(known.probabilities), np.nan)
    y[known.labelled] = known.labels
    return y


def _row_numbers(known: Known) -> Floats:
    return np.arange(len(known.probabilities), dtype=float)[:, None]


def _answers(known: Known) -> Answers:
    return Answers({"probabilities": known.probabilities, "hidden": known.hidden}, classes=list(range(known.probabilities.shape[1])))


def _uncertainty(method: str) -> Peer:
    def choose(known: Known, budget: int) -> Ints:
        query = UncertaintySampling(method=method, random_state=known.seed)
        return np.asarray(
            query.query(
                _row_numbers(known), _labels_or_nan(known), _answers(known), fit_clf=False, candidates=known.candidates, batch_size=budget
            )
        )

    return choose


def _badge(known: Known, budget: int) -> Ints:
    query = Badge(clf_embedding_flag_name="return_embeddings", random_state=known.seed)
    return np.asarray(
        query.query(
            _row_numbers(known), _labels_or_nan(known), _answers(known), fit_clf=False, candidates=known.candidates, batch_size=budget
        )
    )


def _core_set(known: Known, budget: int) -> Ints:
    points = known.hidden.astype(float)
    return np.asarray(CoreSet(random_state=known.seed).query(points, _labels_or_nan(known), candidates=known.candidates, batch_size=budget))


def _typiclust(known: Known, budget: int) -> Ints:
    points = known.raw.astype(float)
    return np.asarray(
        TypiClust(random_state=known.seed, k=20).query(points, _labels_or_nan(known), candidates=known.candidates, batch_size=budget)
    )


class _Learner:
    """What modAL asks of a learner: training data and answers by row number."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.X_training = known.hidden[known.labelled]
        self.on_transformed = False

    def predict_proba(self, _rows: Any, **_: Any) -> Floats:
        return self.known.probabilities[self.known.candidates]


def _modal_entropy(known: Known, budget: int) -> Ints:
    picked = entropy_sampling(_Learner(known), known.hidden[known.candidates], n_instances=budget)
    return known.candidates[np.asarray(picked[0] if isinstance(picked, tuple) else picked)]


def _modal_ranked_batch(known: Known, budget: int) -> Ints:
    picked = uncertainty_batch_sampling(_Learner(known), known.hidden[known.candidates], n_instances=budget)
    return known.candidates[np.asarray(picked[0] if isinstance(picked, tuple) else picked)]


def _bald(known: Known, budget: int) -> Ints:
    ranked = heuristics.BALD()(known.sampled()[known.candidates])
    return known.candidates[np.asarray(ranked)[:budget]]


def _baal_margin(known: Known, budget: int) -> Ints:
    ranked = heuristics.Margin()(known.probabilities[known.candidates])
    return known.candidates[np.asarray(ranked)[:budget]]


CLASSIFICATION: Mapping[str, Peer] = {
    "skactiveml margin": _uncertainty("margin_sampling"),
    "skactiveml entropy": _uncertainty("entropy"),
    "skactiveml core-set": _core_set,
    "skactiveml TypiClust": _typiclust,
    "skactiveml BADGE": _badge,
    "modAL ranked batch": _modal_ranked_batch,
    "baal BALD": _bald,
}
#: On detections: probabilities are pooled from the boxes of a picture.
DETECTION: Mapping[str, Peer] = {
    "skactiveml core-set": _core_set,
    "skactiveml TypiClust": _typiclust,
    "skactiveml margin (pooled)": _uncertainty("margin_sampling"),
    "modAL ranked batch (pooled)": _modal_ranked_batch,
    "baal margin (pooled)": _baal_margin,
}
EXACT: Mapping[str, Peer] = {
    "skactiveml entropy": _uncertainty("entropy"),
    "skactiveml margin": _uncertainty("margin_sampling"),
    "skactiveml least confident": _uncertainty("least_confident"),
    "skactiveml core-set": _core_set,
    "modAL entropy": _modal_entropy,
    "baal margin": _baal_margin,
}

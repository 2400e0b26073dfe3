"""anomaly_detection_mining (reason 30): unlike the training data, whatever was predicted; without it, unlike the other candidates.

Embeddings -> principal components (95 % of the variance, at most 64) and the distance from their span -> mean distance to the 5 nearest. With
training data the strength is the percentile among its leave-one-out distances, and fires above 0.95. Without, it is a robust z of the distance,
``min(1, z / 7)``, and fires at z > 3.5: a percentile of the batch in itself would always call a twentieth of it abnormal. Such a batch finds what
is rare, not what has drifted. O(N n d).
"""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats
from mining.hard_examples.items import check_embedder
from mining.hard_examples.neighbours import LEAST_REFERENCES, Vectors, known_rows, mean_distance, normalised, percentiles, without_copies
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.spread import FIRES_ABOVE_Z, strength_of_z
from mining.hard_examples.verdict import MissingInputError, Verdict, of_one_code

CODE = 30
NEIGHBOURS = 5
FIRES_ABOVE = 0.95
LEAST_BATCH = 10
_VARIANCE, _DIMENSIONS = 0.95, 64


def judge(question: Question, parameters: Parameters) -> Verdict:  # noqa: ARG001 - nothing of it can be set
    if question.embeddings is None:
        raise MissingInputError("there are no embeddings of the candidates")
    vectors = normalised(question.embeddings)
    rows = np.flatnonzero(known_rows(vectors))
    if question.training is not None and question.training.embeddings is not None and len(question.training.embeddings):
        return _against_training(question, question.training.embeddings, vectors, rows)
    return _within_batch(question, vectors, rows)


def _against_training(question: Question, embeddings: Floats, vectors: Vectors, rows: np.ndarray) -> Verdict:
    check_embedder(question)
    known = normalised(embeddings)
    if known.shape[1:] != vectors.shape[1:]:
        widths = f"{known.shape[1]} and {vectors.shape[1]}"
        raise MissingInputError(f"the embeddings of the training data and of the candidates have {widths} numbers: they cannot be compared")
    known = known[known_rows(known)]
    known = known[without_copies(known)] if len(known) else known
    if len(known) < LEAST_REFERENCES:
        raise MissingInputError(f"the training data has {len(known)} different embeddings; {LEAST_REFERENCES} are needed")
    components = _Components(known)
    inside = components.of(known)
    numbers = np.arange(len(inside))
    usual = mean_distance(inside, inside, NEIGHBOURS, query_groups=numbers, groups=numbers)
    strengths = np.full(len(question), np.nan)
    strengths[rows] = percentiles(mean_distance(components.of(vectors[rows]), inside, NEIGHBOURS), usual)
    return of_one_code(CODE, strengths, strengths > FIRES_ABOVE, report={"compared_with": "training data", "dimensions": inside.shape[1]})


def _within_batch(question: Question, vectors: Vectors, rows: np.ndarray) -> Verdict:
    if len(rows) < LEAST_BATCH:
        raise MissingInputError(
            f"there is no training data, and {len(rows)} embedded candidates are too few to be compared with each other"
        )
    inside = _Components(vectors[rows]).of(vectors[rows])
    numbers = np.arange(len(rows))
    distances = mean_distance(inside, inside, NEIGHBOURS, query_groups=numbers, groups=numbers)
    z = np.full(len(question), np.nan)
    z[rows] = _one_sided_z(distances)
    report = {"compared_with": "the candidates themselves", "dimensions": inside.shape[1]}
    return of_one_code(CODE, strength_of_z(z), z > FIRES_ABOVE_Z, report=report)


def _one_sided_z(distances: Floats) -> Floats:
    """How far above the median in robust standard deviations, these at least a tenth of the median: a batch of near copies shall not split hairs."""
    lower, middle, upper = np.percentile(distances, [25, 50, 75])
    spread = max((upper - lower) / 1.349, 0.1 * middle, 1e-3)
    z: Floats = np.maximum(0.0, (distances - middle) / spread)
    return z


class _Components:
    """Principal components of the vectors, as many as explain 95 % of the variance, at most 64; and last, how far a vector lies from their span.

    Without that last one, what is foreign in a way in which the vectors do not differ at all would fall into their middle.
    """

    def __init__(self, vectors: Vectors) -> None:
        doubles = vectors.astype(np.float64)
        self._mean = doubles.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(doubles.T).reshape(doubles.shape[1], -1))
        variances, directions = variances[::-1].clip(min=0), directions[:, ::-1]
        shares = np.cumsum(variances) / max(float(variances.sum()), 1e-12)
        self._directions = directions[:, : min(_DIMENSIONS, int(np.searchsorted(shares, _VARIANCE)) + 1)]

    def of(self, vectors: Vectors) -> Vectors:
        """(n, components + 1)."""
        centred = vectors - self._mean
        inside = centred @ self._directions
        left_over = np.sqrt(((centred**2).sum(axis=1) - (inside**2).sum(axis=1)).clip(min=0))
        return np.column_stack([inside, left_over]).astype(np.float32)

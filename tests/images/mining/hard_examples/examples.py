"""Small questions to the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mining.boxes import Boxes
from mining.hard_examples import Answer, Parameters, Question, find_hard_examples
from mining.hard_examples.parameters import DEFAULTS
from numpy.typing import ArrayLike


def boxes(*rows: tuple[float, float, float, float, int, float], features: ArrayLike | None = None) -> Boxes:
    """Rows of x1, y1, x2, y2, class, score."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(
        table[:, :4], table[:, 5], table[:, 4].astype(np.int64), features=None if features is None else np.asarray(features, float)
    )


def scored(*scores: float) -> Boxes:
    """Boxes side by side with these scores."""
    return boxes(*((20.0 * place, 0.0, 20.0 * place + 15, 15.0, 0, score) for place, score in enumerate(scores)))


def only(algorithm: str, **parameters: Any) -> Parameters:
    """Runs one algorithm, with the weight 1."""
    return Parameters(comprehensive_algo_config=f"{algorithm}:1", **parameters)


def ask(parameters: Parameters = DEFAULTS, **parts: Any) -> Answer:
    """Numbered pictures with these parts."""
    count = len(next(part for part in parts.values() if part is not None))
    parts.setdefault("ids", [f"p{place}" for place in range(count)])
    return find_hard_examples(Question(class_names=("cat", "dog"), **parts), parameters)


def codes(answer: Answer) -> list[list[int]]:
    return [list(row.codes) for row in answer.rows]


def two_clouds(sizes: Sequence[int] = (40, 40), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n, 6) around two directions, and which of the two each belongs to."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(6)[labels] + generator.normal(0, 0.05, (len(labels), 6)), labels

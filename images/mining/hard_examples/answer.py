"""What the operator found: a row per picture and a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mining.hard_examples.reasons import REASONS, join_codes, texts


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One predicted box: ``corners`` x1, y1, x2, y2 in pixels, ``class_index`` into the question's class names, hardness in [0, 1] and its reasons."""

    corners: tuple[float, float, float, float]
    class_index: int
    score: float
    hardness: float
    codes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """One picture.

    ``coefficient`` in [0, 1]. ``raw_sum``: the sum of w s over what fired, not clipped; ``total``: over all that judged, fired or not. Both order
    what has the same coefficient. ``codes``: the reasons, the greatest contribution first. ``strengths``: by algorithm, NaN where it could not
    judge this picture. ``columns``: what went into them: ``disagreement.<augmentation>`` and ``z.<feature>``, NaN where unknown. ``details``: by
    algorithm, JSON-ready.
    """

    id: str
    coefficient: float
    raw_sum: float
    total: float
    hard: bool
    codes: tuple[int, ...]
    strengths: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, float] = field(default_factory=dict)
    boxes: tuple[BoxRow, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> str:
        """As ModelArts writes them: ``1-20-3``."""
        return join_codes(self.codes)

    @property
    def texts(self) -> list[str]:
        """A sentence for each reason."""
        return texts(self.codes)

    @property
    def suggestions(self) -> list[str]:
        """What to do about it, for each reason."""
        return [REASONS[code].suggestion for code in self.codes]


@dataclass(frozen=True)
class Answer:
    """``rows`` in the order of the question's ids. ``report`` is JSON-ready: counts, skipped algorithms and why, reasons counted, drift, parameters,
    warnings.
    """

    rows: tuple[Row, ...]
    report: Mapping[str, Any]

    @property
    def hard(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.hard)

    def ranked(self) -> list[Row]:
        """The hardest first; ties by the unclipped sum, then by all strengths, then by id."""
        return sorted(self.rows, key=lambda row: (-row.coefficient, -row.raw_sum, -row.total, row.id))

    def columns(self) -> dict[str, list[Any]]:
        """Every intermediate score as columns of equal length, for a Parquet file: lists of text, numbers, truth values, or lists of those."""
        strengths = sorted({name for row in self.rows for name in row.strengths})
        others = sorted({name for row in self.rows for name in row.columns})
        nan = float("nan")
        return {
            "id": [row.id for row in self.rows],
            "coefficient": [row.coefficient for row in self.rows],
            "raw_sum": [row.raw_sum for row in self.rows],
            "total": [row.total for row in self.rows],
            "hard": [row.hard for row in self.rows],
            "reasons": [row.reasons for row in self.rows],
            **{f"strength.{name}": [row.strengths.get(name, nan) for row in self.rows] for name in strengths},
            **{name: [row.columns.get(name, nan) for row in self.rows] for name in others},
            "box_hardness": [[box.hardness for box in row.boxes] for row in self.rows],
            "box_reasons": [[join_codes(box.codes) for box in row.boxes] for row in self.rows],
        }

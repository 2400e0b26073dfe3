"""Numbers in a JSON result, which an image may write as texts, as NaN, or larger than any picture."""

from __future__ import annotations

import math
from typing import Any

from contracts.ymir.tolerances import Tolerances

MAX_PIXEL = 1e7  # far outside any picture: no real coordinate


def json_number(value: Any) -> float | None:
    """The value as a float (NaN and infinity included: the caller drops those), also from a numeric text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def unit_score(value: Any, place: str, tolerances: Tolerances) -> float | None:
    """A score in [0, 1], clamped; None when there is none, and then the box is dropped as YMIR does."""
    score = json_number(value)
    if score is None or not math.isfinite(score):
        tolerances.add("infer_score_missing", "boxes without a score were dropped", place)
        return None
    if not 0 <= score <= 1:
        tolerances.add("infer_score_range", "scores outside [0, 1] were clamped", place, str(value))
    return min(1.0, max(0.0, score))

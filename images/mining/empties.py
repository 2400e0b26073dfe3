"""Where pictures go in which nothing was found: said by a parameter, never by accident of a formula."""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats
from mining.strategy import Parameter, Request

EMPTY = Parameter("neutral", "pictures without boxes: at the middle of the ranking, first or last", choices=("neutral", "first", "last"))


def fill_empty(scores: Floats, policy: str, request: Request) -> Floats:
    """The scores (n,) with each NaN replaced: the median of the others (neutral), or 1 above the highest or below the lowest. 0 when all are NaN."""
    empty = np.isnan(scores)
    request.report["without_boxes"] = int(empty.sum())
    if not empty.any() or empty.all():
        return np.where(empty, 0.0, scores)
    known = scores[~empty]
    value = {"neutral": np.median(known), "first": known.max() + 1.0, "last": known.min() - 1.0}[policy]
    return np.where(empty, value, scores)

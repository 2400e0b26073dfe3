"""Histograms that several versions share, so that they can be laid over each other, and what a list of values says in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 40
#: A range that spans this much more than its median is cut into bins of equal ratio, not of equal width.
_LONG_TAIL = 20.0


def common_edges(columns: Sequence[npt.ArrayLike], bins: int = BINS, *, whole: bool = False) -> Floats:
    """(bins + 1,) edges from the least to the largest known value of all columns together.

    A long tail of positive values has edges of equal ratio. ``whole`` numbers have bins around 0, 1, 2, ... as long as there are not too many.
    """
    values = np.concatenate([np.asarray(column, np.float64).ravel() for column in columns] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if not len(values):
        return np.array([0.0, 1.0])
    least, most = float(values.min()), float(values.max())
    if whole:
        step = max(1, int(np.ceil((most - least + 1) / bins)))
        return np.arange(least, most + 1 + step, step) - 0.5
    if least == most:
        return np.array([least, most]) + np.array([-0.5, 0.5]) * (abs(least) * 1e-3 or 1.0)
    if least > 0 and most > _LONG_TAIL * float(np.median(values)):
        return np.geomspace(least, most, bins + 1)
    return np.linspace(least, most, bins + 1)


def counts(values: npt.ArrayLike, edges: Floats) -> list[int]:
    """How many known values lie in each bin; the last bin has both its ends, what lies outside of all is counted in the outermost."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    place = np.searchsorted(edges, known, side="right") - 1
    return [int(count) for count in np.bincount(place.clip(0, len(edges) - 2), minlength=len(edges) - 1)]


def summary(values: npt.ArrayLike) -> dict[str, float | int | None]:
    """Count, mean, population standard deviation, least, quartiles and largest of the known values; None of none."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return {"count": 0, **dict.fromkeys(("mean", "std", "min", "p25", "median", "p75", "max"))}
    least, lower, middle, upper, most = (float(v) for v in np.percentile(known, [0, 25, 50, 75, 100]))
    quartiles = {"min": least, "p25": lower, "median": middle, "p75": upper, "max": most}
    return {"count": len(known), "mean": float(known.mean()), "std": float(known.std()), **quartiles}


def shift(reference: npt.ArrayLike, other: npt.ArrayLike) -> float | None:
    """How far two lists of values are apart: the Kolmogorov-Smirnov statistic, the largest distance of their cumulative shares, 0..1.

    None when one of them has no known value.
    """
    first, second = _sorted(reference), _sorted(other)
    if not len(first) or not len(second):
        return None
    points = np.concatenate([first, second])
    below = [np.searchsorted(values, points, side="right") / len(values) for values in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def _sorted(values: npt.ArrayLike) -> Floats:
    known = np.asarray(values, np.float64)
    return np.sort(known[np.isfinite(known)])


def chart(
    key: str,
    title: str,
    columns: Mapping[str, npt.ArrayLike],
    *,
    x: str,
    y: str,
    edges: Sequence[float] | None = None,
    whole: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """A histogram of one column per version, over the same edges; JSON-ready. ``whole``: bins stand for whole numbers, from edge + 1/2 on."""
    shared = common_edges(list(columns.values()), whole=whole) if edges is None else np.asarray(edges, np.float64)
    series = [{"name": name, "values": counts(values, shared), "summary": summary(values)} for name, values in columns.items()]
    said = {"key": key, "kind": "histogram", "title": title, "x": x, "y": y, "note": note}
    return {**said, "whole": whole, "edges": shared.tolist(), "series": series}

"""How far a value lies from the training data's, in robust standard deviations, and how far two samples are apart."""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats

#: A reason fires from here on; the strength is full at twice as far.
FIRES_ABOVE_Z = 3.5


def strength_of_z(z: Floats) -> Floats:
    """In [0, 1]; NaN stays."""
    return np.minimum(1.0, z / (2 * FIRES_ABOVE_Z))


def robust_spread(values: Floats, floor: float) -> tuple[float, float, bool]:
    """Median, spread and whether the values hardly differ.

    The spread is the interquartile range / 1.349; where more than half of the values are equal, so that it is 0, the standard deviation; and never below
    a thousandth of the median, or ``floor``.
    """
    lower, median, upper = (float(value) for value in np.percentile(values, [25, 50, 75]))
    spread = (upper - lower) / 1.349 or float(values.std())
    least = max(1e-3 * abs(median), floor)
    return median, max(spread, least), spread < least


def kolmogorov_smirnov(reference: Floats, batch: Floats) -> tuple[float, bool]:
    """The largest distance of the cumulative shares, 0..1, and whether it is significant at 1 %."""
    points = np.concatenate([reference, batch])
    shares = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (reference, batch)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    critical = 1.628 * np.sqrt((len(reference) + len(batch)) / (len(reference) * len(batch)))
    return distance, bool(distance > critical)


def stability_index(reference: Floats, batch: Floats, bins: int = 10) -> float:
    """PSI, ``sum (b - r) ln(b / r)`` over the reference's deciles; 0 for equal shares, above 0.2 counts as a shift.

    Where deciles coincide, a value that many pictures share is a bin of its own. Half a picture is added to each bin.
    """
    cuts = np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1])
    distinct = np.unique(cuts)
    shares = []
    for values in (reference, batch):
        places = np.searchsorted(distinct, values, side="left")
        if len(distinct) < len(cuts):
            places = places + np.searchsorted(distinct, values, side="right")
        counts = np.bincount(places, minlength=2 * len(distinct) + 1) + 0.5
        shares.append(counts / counts.sum())
    used = (shares[0] * len(reference) > 0.5) | (shares[1] * len(batch) > 0.5)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0]))[used].sum())

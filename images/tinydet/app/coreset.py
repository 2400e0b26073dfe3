"""Pictures that lie far from each other: greedy k-centre. Only numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

MOST_PICKS = 4000  # each pick looks at every picture once: beyond this the rest is ranked by its distance to the picks


def farthest_first(features: FloatArray, known: FloatArray, most_picks: int = MOST_PICKS) -> list[tuple[int, float]]:
    """Row numbers of ``features`` (n, d), most different first, with distances that never grow; the point ``known`` (d,) counts as picked."""
    nearest = np.linalg.norm(features - known, axis=1)
    order: list[tuple[int, float]] = []
    for _ in range(min(len(features), most_picks)):
        pick = int(np.argmax(nearest))
        order.append((pick, float(nearest[pick])))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[pick], axis=1))
        nearest[pick] = -np.inf
    rest = np.argsort(-nearest, kind="stable")[: len(features) - len(order)]
    return order + [(int(index), float(nearest[index])) for index in rest]

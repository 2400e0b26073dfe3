"""ALDD: places where a dense head disagrees with its own neighbourhood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mining import doubt
from mining.balance import class_weights
from mining.boxes import Floats
from mining.pool import Pool
from mining.selection import Ranking
from mining.staged import About, Scored, Scorer
from mining.strategy import DETECTION, Parameter, Request


class Aldd(Scorer):
    """Per class map: H(mean of p around a cell) - mean of H(p) around it; the highest in each block, the mean over blocks, the sum over classes.

    Maps (C, h, w) are taken at the resolution of the head (upsampling them costs C x H x W and says nothing new). For heads with many anchors a cell;
    on sharp centre heatmaps it ranks easy pictures first, so smooth those or do not use it. Video: ``frame_gap`` leaves out frames near one
    that was taken, where the pool has an order. O(C h w window^2) per picture.
    """

    name = "aldd"
    needs = frozenset({"class_maps"})
    uses = frozenset({"order", "labelled"})
    source = "Aghdam et al., ICCV 2019, arXiv 1911.09168"
    kinds = (DETECTION,)
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "window": Parameter(3, "cells on each side of the neighbourhood; odd", least=1, most=31),
        "block": Parameter(4, "cells on each side of the blocks of which the highest counts", least=1),
        "weigh_classes": Parameter(False, "whether classes count by (mean count / count)^0.5 of what is labelled"),
        "frame_gap": Parameter(0.0, "frames of a video closer than this to one that was taken come later; 0 = all the same", least=0.0),
    }

    def score(self, pool: Pool, request: Request) -> Floats:
        assert pool.class_maps is not None
        parameters = request.parameters
        weights = class_weights(pool.labelled.class_counts) if parameters["weigh_classes"] else None
        return np.array([_of_maps(np.asarray(pool.class_maps(row), float), parameters, weights) for row in range(len(pool))], float)

    def choose(self, scored: Scored, request: Request) -> Ranking:
        ranking = super().choose(scored, request)
        gap = request.parameters["frame_gap"]
        if not gap:
            return ranking
        if scored.pool.order is None or not scored.complete:
            request.skipped.append("frame_gap: the pool has no order, so neighbouring frames may be picked together")
            return ranking
        return _apart(ranking, scored.pool.order, gap)

    def words(self, score: float, about: About) -> tuple[str, ...]:
        return (f"neighbouring places disagree about what is there: divergence {score:.3f}, {about.among}",)


def divergence(maps: Floats, window: int) -> Floats:
    """(C, h, w) H(mean p) - mean H(p) in nats over the window around each cell (only cells inside the map), at least 0."""
    middle = _around(maps, window)
    mean_entropy = _around(_entropy(maps), window)
    return np.maximum(_entropy(middle) - mean_entropy, 0.0)


def _entropy(p: Floats) -> Floats:
    result: Floats = -(doubt.x_log_x(p) + doubt.x_log_x(1.0 - p))
    return result


def _around(maps: Floats, window: int) -> Floats:
    """Mean over the window; cells outside the map do not count."""
    before, after = (window - 1) // 2, window // 2
    padding = ((0, 0), (before, after), (before, after))
    total = np.lib.stride_tricks.sliding_window_view(np.pad(maps, padding), (window, window), axis=(1, 2)).sum(axis=(3, 4))
    inside = np.lib.stride_tricks.sliding_window_view(np.pad(np.ones_like(maps[:1]), padding), (window, window), axis=(1, 2)).sum(
        axis=(3, 4)
    )
    result: Floats = total / inside
    return result


def _of_maps(maps: Floats, parameters: Mapping[str, Any], weights: Floats | None) -> float:
    if maps.ndim != 3 or not maps.size or not np.isfinite(maps).all():
        return float("nan")
    cells = divergence(np.clip(maps, 0.0, 1.0), parameters["window"])
    block = parameters["block"]
    high, wide = -maps.shape[1] % block, -maps.shape[2] % block
    cells = np.pad(cells, ((0, 0), (0, high), (0, wide)))
    blocks = cells.reshape(len(maps), cells.shape[1] // block, block, cells.shape[2] // block, block).max(axis=(2, 4))
    per_class = blocks.mean(axis=(1, 2))
    return float((per_class if weights is None else per_class * weights).sum())


def _apart(ranking: Ranking, order: Any, gap: float) -> Ranking:
    """Frames within ``gap`` of a better one of their video go behind all others."""
    taken: dict[str, list[float]] = {}
    first, later = [], []
    for row in ranking.order.tolist():
        video, frame = order[row]
        if any(abs(frame - other) < gap for other in taken.get(video, ())):
            later.append(row)
        else:
            taken.setdefault(video, []).append(frame)
            first.append(row)
    place = np.empty(len(ranking.order), np.int64)
    place[ranking.order] = np.arange(len(place))
    new = np.array(first + later, np.int64)
    return Ranking(new, np.minimum.accumulate(ranking.scores[place[new]]), ranking.reason)

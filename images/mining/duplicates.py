"""Pictures that look the same: by perceptual hash, by embedding, or both. One of each group stays, and it is the first in a given order."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from mining import kcenter
from mining.boxes import Ints
from mining.pool import Embeddings, Pool

#: Rows whose distances to what is kept are computed together.
_BLOCK = 256


class HashIndex:
    """64-bit hashes kept so far, and whether a new one lies within ``bits`` of one of them.

    Two hashes at most b bits apart share at least one of b + 1 bands of their bits, so only those that share a band are compared. O(1) a row for
    well-mixed hashes, O(kept) when they all share a band.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._buckets: list[dict[int, list[int]]] = [{} for _ in self._bands]

    def near(self, value: int) -> bool:
        return any(
            (value ^ other).bit_count() <= self.bits
            for (low, mask), bucket in zip(self._bands, self._buckets, strict=True)
            for other in bucket.get(value >> low & mask, ())
        )

    def add(self, value: int) -> None:
        for (low, mask), bucket in zip(self._bands, self._buckets, strict=True):
            bucket.setdefault(value >> low & mask, []).append(value)


class PointIndex:
    """Points kept so far, and which of some new ones lie within a squared distance of one of them. O(new x kept x d), in blocks."""

    def __init__(self, radius_squared: float, dimensions: int) -> None:
        self.radius_squared = radius_squared
        self._kept = np.zeros((64, dimensions), np.float32)
        self._count = 0

    def near(self, points: Embeddings) -> Any:
        return kcenter.nearest_squared(points, self._kept[: self._count]) <= self.radius_squared

    def add(self, points: Embeddings) -> None:
        while self._count + len(points) > len(self._kept):
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])
        self._kept[self._count : self._count + len(points)] = points
        self._count += len(points)


@dataclass
class Twins:
    """Finds near-duplicates among rows that come in blocks: first come, first kept. Holds what was kept: hashes, points, or both."""

    hashes: HashIndex | None = None
    points: PointIndex | None = None
    dropped: int = field(default=0, init=False)

    def fresh(self, hashes: Any, points: Embeddings | None) -> Any:
        """(n,) bool: rows that resemble nothing kept before them; they are kept from now on. Rows are looked at in order."""
        count = len(hashes) if hashes is not None else len(points) if points is not None else 0
        kept = np.ones(count, bool)
        for start in range(0, count, _BLOCK):
            part = slice(start, start + _BLOCK)
            kept[part] = self._block(None if hashes is None else hashes[part], None if points is None else points[part])
        self.dropped += int((~kept).sum())
        return kept

    def _block(self, hashes: Any, points: Embeddings | None) -> Any:
        count = len(hashes) if hashes is not None else len(points)  # type: ignore[arg-type]
        known = np.zeros(count, bool) if self.points is None or points is None else self.points.near(points)
        among = None if self.points is None or points is None else _pairs(points) <= self.points.radius_squared
        kept: list[int] = []
        for row in range(count):
            value = None if self.hashes is None or hashes is None else int(hashes[row])
            same = known[row] or (among is not None and among[row, kept].any()) or (value is not None and self._seen(value))
            if not same:
                kept.append(row)
                if self.hashes is not None and value is not None:
                    self.hashes.add(value)
        if self.points is not None and points is not None:
            self.points.add(points[kept])
        return np.isin(np.arange(count), kept)

    def _seen(self, value: int) -> bool:
        return self.hashes is not None and self.hashes.near(value)


def _pairs(points: Embeddings) -> Any:
    norms = kcenter.squared_norms(points)
    return np.maximum(norms[:, None] + norms[None, :] - 2.0 * (points @ points.T), 0.0)


def spread_squared(points: Embeddings) -> float:
    """Mean squared distance of points (n, d) to their mean; 0 without points."""
    if not len(points):
        return 0.0
    middle = points.mean(axis=0, dtype=np.float64)
    return max(0.0, float(kcenter.squared_norms(points).mean() - middle @ middle))


def twins(pool: Pool, bits: int, share: float, spread: float) -> Twins | None:
    """A finder for this pool that knows what is labelled; None where neither hashes (bits >= 0) nor embeddings (share > 0) are compared.

    Embeddings closer than ``share`` x sqrt(``spread``) are the same picture: a share of the pool's own spread, because the cosine of two pictures
    of one backbone may be .95 for any two.
    """
    hashes = HashIndex(bits) if bits >= 0 and pool.hashes is not None else None
    embeddings = pool.embeddings
    points = PointIndex(share * share * spread, embeddings.shape[1]) if share > 0 and embeddings is not None else None
    if hashes is not None and pool.labelled.hashes is not None:
        for value in np.asarray(pool.labelled.hashes, np.uint64).tolist():
            hashes.add(value)
    if points is not None and pool.labelled.embeddings is not None:
        points.add(pool.labelled.embeddings)
    return None if hashes is None and points is None else Twins(hashes, points)


def fresh_rows(pool: Pool, finder: Twins, rows: Ints, enough: int | None = None) -> Ints:
    """Of ``rows``, in their order, those that resemble none before them, until ``enough`` are found."""
    found: list[Ints] = []
    for start in range(0, len(rows), _BLOCK):
        if enough is not None and sum(map(len, found)) >= enough:
            break
        part = rows[start : start + _BLOCK]
        fresh = finder.fresh(None if pool.hashes is None else pool.hashes[part], None if pool.embeddings is None else pool.embeddings[part])
        found.append(part[fresh])
    return np.concatenate(found)[:enough] if found else np.zeros(0, np.int64)

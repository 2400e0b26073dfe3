"""Distances between embeddings, in blocks so that 100,000 against 100,000 fit into memory: neighbours, clusters, covering subsets, conformal
percentiles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mining.boxes import Floats, Ints

Vectors = npt.NDArray[np.float32]
#: Reference values below this number say nothing of a percentile of 0.95.
LEAST_REFERENCES = 20
_BLOCK_VALUES = 4_000_000
#: Beyond so many, a covering subset is filled up by chance: each further point costs a pass over all.
_LARGEST_COVER = 2000


def normalised(vectors: npt.ArrayLike) -> Vectors:
    """(n, d) of length 1, from (n, d); a row of zeros stays, one with NaN is NaN throughout."""
    found = np.asarray(vectors, np.float64)
    found = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Vectors = np.divide(found, lengths, out=found, where=lengths > 0).astype(np.float32)
    return unit


def known_rows(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """(n,) True for the rows without NaN."""
    known: npt.NDArray[np.bool_] = np.isfinite(vectors).all(axis=1)
    return known


def mean_distance(queries: Vectors, references: Vectors, k: int, *, query_groups: Ints | None = None, groups: Ints | None = None) -> Floats:
    """(q,) mean Euclidean distance to the k nearest references (to all, if there are fewer); NaN where there is none.

    References of the query's own group are left out: leave-one-out, or leave-one-picture-out for boxes. O(q r d).
    """
    result = np.full(len(queries), np.nan)
    if not len(references):
        return result
    squares = np.einsum("ij,ij->i", references, references)
    rows = max(1, _BLOCK_VALUES // len(references))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        rough = squares[None, :] - 2.0 * (block @ references.T)
        if query_groups is not None and groups is not None:
            rough[query_groups[start : start + rows, None] == groups[None, :]] = np.inf
        nearest = np.argpartition(rough, min(k, rough.shape[1]) - 1, axis=1)[:, :k] if k < rough.shape[1] else _all_columns(rough)
        result[start : start + rows] = _exact_mean(block, references, nearest, np.isfinite(np.take_along_axis(rough, nearest, axis=1)))
    return result


def _all_columns(rough: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    return np.broadcast_to(np.arange(rough.shape[1]), rough.shape)


def _exact_mean(block: Vectors, references: Vectors, nearest: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_]) -> Floats:
    """By differences: the short way over dot products loses the small distances that tell near-duplicates from neighbours."""
    totals, counts = np.zeros(len(block)), allowed.sum(axis=1)
    for column in range(nearest.shape[1]):
        apart = np.linalg.norm(block.astype(np.float64) - references[nearest[:, column]], axis=1)
        totals += np.where(allowed[:, column], apart, 0.0)
    mean: Floats = np.divide(totals, counts, out=np.full(len(block), np.nan), where=counts > 0)
    return mean


def percentiles(values: Floats, references: Floats) -> Floats:
    """1 - conformal p-value of each value: the share of references below it, ``#{r < v} / (r + 1)``; NaN stays NaN.

    Above 0.95 it is significant at 5 %, which takes 20 references at the least.
    """
    ordered = np.sort(references[np.isfinite(references)])
    below = np.searchsorted(ordered, values, side="left") / (len(ordered) + 1)
    share: Floats = np.where(np.isnan(values), np.nan, below)
    return share


def without_copies(vectors: Vectors) -> Ints:
    """The rows that are no copies of an earlier one, to 5 digits: copies would make every leave-one-out distance 0."""
    _, first = np.unique(np.round(vectors, 5), axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def covering_rows(vectors: Vectors, count: int, seed: int) -> Ints:
    """``count`` rows that cover the rest: from the one farthest from the mean, always the row farthest from those taken (k-center greedy).

    The first 2000 so, further ones by chance. O(count n d).
    """
    if count >= len(vectors):
        return np.arange(len(vectors))
    next_row = int(np.argmax(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)))
    nearest = np.full(len(vectors), np.inf)
    chosen: list[int] = []
    while len(chosen) < min(count, _LARGEST_COVER):
        chosen.append(next_row)
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[next_row], axis=1))
        nearest[next_row] = -1.0
        next_row = int(np.argmax(nearest))
    rest = np.setdiff1d(np.arange(len(vectors)), chosen)
    others = np.random.default_rng(seed).choice(rest, count - len(chosen), replace=False)
    return np.sort(np.concatenate([np.array(chosen, np.int64), others]))


def centroids(vectors: Vectors, count: int, seed: int, rounds: int = 50) -> Vectors:
    """(count, d) centres of k-means (Lloyd) from k-means++ seeds; fewer where there are fewer different vectors. O(rounds n count d)."""
    generator = np.random.default_rng(seed)
    centres = _spread_seeds(vectors, count, generator)
    belongs = nearest_centre(vectors, centres)
    for _ in range(rounds):
        centres = _means(vectors, belongs, centres)
        moved = nearest_centre(vectors, centres)
        if np.array_equal(moved, belongs):
            break
        belongs = moved
    return centres


def _means(vectors: Vectors, belongs: Ints, centres: Vectors) -> Vectors:
    """The mean of what belongs to each centre; a centre without any stays where it is. By sorting: ``np.add.at`` takes twenty times as long."""
    order = np.argsort(belongs, kind="stable")
    used, starts, sizes = np.unique(belongs[order], return_index=True, return_counts=True)
    moved: Vectors = centres.copy()
    moved[used] = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64) / sizes[:, None]
    return moved


def _spread_seeds(vectors: Vectors, count: int, generator: np.random.Generator) -> Vectors:
    chosen = [int(generator.integers(len(vectors)))]
    squares = np.full(len(vectors), np.inf)
    while len(chosen) < count:
        apart = vectors - vectors[chosen[-1]]
        squares = np.minimum(squares, np.einsum("ij,ij->i", apart, apart, dtype=np.float64))
        if squares.sum() <= 0:
            break
        chosen.append(int(generator.choice(len(vectors), p=squares / squares.sum())))
    return vectors[chosen]


def nearest_centre(vectors: Vectors, centres: Vectors) -> Ints:
    """(n,) the number of the nearest centre."""
    squares = np.einsum("ij,ij->i", centres, centres)
    rows = max(1, _BLOCK_VALUES // len(centres))
    parts = [np.argmin(squares - 2.0 * (vectors[start : start + rows] @ centres.T), axis=1) for start in range(0, len(vectors), rows)]
    return np.concatenate([np.zeros(0, np.int64), *parts])

"""Pictures sorted into groups of a like look, and the most different ones of many: k-means and farthest-first over small embeddings.

An embedding says how a picture looks, not what is in it: its thumbnail of 4 x 4 fields, and, where asked for, its clarity, brightness and
colour. All results depend only on the arrays and the seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What ModelArts' automatic grouping takes.
LEAST_GROUPS, MOST_GROUPS = 2, 200
#: The features that may be chosen beside the thumbnail, by the keys of ``analysis.features``.
ASPECTS: Mapping[str, tuple[str, ...]] = {
    "clarity": ("ambiguity",),
    "brightness": ("image_brightness",),
    "colour": ("image_saturation", "image_colorfulness"),
}
#: Centres are sought in so many pictures, then all are assigned: a million pictures take a minute and not an hour.
_FITTED = 20_000
_ROUNDS = 50
_STARTS = 4
_BLOCK = 16_384


def embeddings(
    thumbnails: npt.NDArray[np.uint8], features: Mapping[str, npt.ArrayLike] | None = None, aspects: Collection[str] = ()
) -> Floats:
    """(n, 48 + aspects) float: thumbnails (n, 192) uint8 (8 x 8 x 3) averaged to 4 x 4 x 3 in 0..1, then each aspect's features.

    A feature is standardised (clarity as its logarithm) and weighs as much as the whole thumbnail does; one that is unknown counts as the mean.
    Raises ``ValueError`` for an aspect that there is not.
    """
    unknown = sorted(set(aspects) - set(ASPECTS))
    if unknown:
        raise ValueError(f"there is no aspect {unknown[0]!r}; known: {', '.join(ASPECTS)}")
    fields = thumbnails.reshape(-1, 4, 2, 4, 2, 3).mean(axis=(2, 4)).reshape(len(thumbnails), -1) / 255
    scale = float(fields.std(axis=0).mean() * np.sqrt(fields.shape[1])) or 1.0
    chosen = [key for aspect in ASPECTS if aspect in aspects for key in ASPECTS[aspect]]
    columns = [_standardised(np.asarray((features or {})[key], np.float64), key == "ambiguity") * scale for key in chosen]
    return np.column_stack([fields, *columns])


def _standardised(values: Floats, logarithm: bool) -> Floats:
    values = np.log1p(values) if logarithm else values
    known = values[np.isfinite(values)]
    mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
    return np.nan_to_num((values - mean) / (spread or 1.0), nan=0.0)


def group_pictures(points: Floats, count: int, *, seed: int = 0) -> Ints:
    """The group of each of (n, d) embeddings: (n,) int, numbered 0, 1, ... from the largest group down; every group has a picture.

    Raises ``ValueError`` for a count outside of 2..200, or larger than the number of pictures.
    """
    if not LEAST_GROUPS <= count <= MOST_GROUPS:
        raise ValueError(f"{count} groups; it must be from {LEAST_GROUPS} to {MOST_GROUPS}")
    if count > len(points):
        raise ValueError(f"{count} groups of {len(points)} pictures; there cannot be more groups than pictures")
    nearest = _filled(points, k_means(points, count, seed=seed), count)
    sizes = np.bincount(nearest, minlength=count)
    rank = np.empty(count, np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(count)
    return rank[nearest]


def k_means(points: Floats, count: int, *, seed: int = 0) -> Ints:
    """The nearest of ``count`` centres for each of (n, d) points: k-means++ and Lloyd's rounds, the best of four starts, in a sample of 20,000."""
    random = np.random.default_rng(seed)
    sample = points if len(points) <= _FITTED else points[np.sort(random.choice(len(points), _FITTED, replace=False))]
    tries = [_lloyd(sample, _first_centres(sample, count, random)) for _ in range(_STARTS)]
    _, centres = min(tries, key=lambda tried: tried[0])
    return _nearest(points, centres)[0]


def _first_centres(points: Floats, count: int, random: np.random.Generator) -> Floats:
    """k-means++: each next centre is drawn with a chance that grows with the square of its distance from those before (Arthur, SODA 2007)."""
    chosen = [int(random.integers(len(points)))]
    away = _squares(points, points[chosen[0]])
    while len(chosen) < count:
        total = float(away.sum())
        at = int(random.choice(len(points), p=away / total)) if total > 0 else int(random.integers(len(points)))
        chosen.append(at)
        away = np.minimum(away, _squares(points, points[at]))
    return points[chosen]


def _lloyd(points: Floats, centres: Floats) -> tuple[float, Floats]:
    nearest, away = _nearest(points, centres)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        sizes = np.bincount(nearest, minlength=len(centres))[:, None]
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
        before, (nearest, away) = nearest, _nearest(points, centres)
        if np.array_equal(before, nearest):
            break
    return float(away.sum()), centres


def _nearest(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """The nearest centre of each point and the square of its distance, in blocks of points."""
    nearest, away = np.empty(len(points), np.int64), np.empty(len(points))
    norms = np.einsum("kd,kd->k", centres, centres)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        scores = norms - 2 * block @ centres.T
        best = scores.argmin(axis=1)
        nearest[start : start + _BLOCK] = best
        away[start : start + _BLOCK] = np.maximum(scores[np.arange(len(block)), best] + np.einsum("nd,nd->n", block, block), 0)
    return nearest, away


def _filled(points: Floats, nearest: Ints, count: int) -> Ints:
    """Gives each empty group (equal pictures can leave some) one picture of the largest group."""
    nearest = nearest.copy()
    for empty in np.flatnonzero(np.bincount(nearest, minlength=count) == 0):
        largest = np.flatnonzero(nearest == np.bincount(nearest, minlength=count).argmax())
        centre = points[largest].mean(axis=0)
        nearest[largest[_squares(points[largest], centre).argmax()]] = empty
    return nearest


def _squares(points: Floats, point: Floats) -> Floats:
    apart = points - point
    return np.asarray(np.einsum("nd,nd->n", apart, apart), np.float64)


def keep_representative(
    points: Floats, sample_ratio: float = 0.9, n_clusters: int | str = "auto", *, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """RRD (ModelArts, DP-05): keeps ``round(n * sample_ratio)`` of (n, d) embeddings and drops the most redundant ones; (n,) True where kept.

    The pictures are clustered (``auto``: the root of half their number, at most 200), each cluster gives up its part, and within one the
    pictures that are farthest from all kept ones stay (farthest-first, beginning with the one nearest to the middle).
    """
    count = len(points)
    if not 0.0 < sample_ratio <= 1.0:
        raise ValueError(f"sample_ratio is {sample_ratio}; it must be above 0 and at most 1")
    clusters = max(1, min(MOST_GROUPS, int(np.sqrt(count / 2)))) if n_clusters == "auto" else int(n_clusters)
    if not 1 <= clusters <= max(1, count):
        raise ValueError(f"n_clusters is {n_clusters} for {count} pictures; it must be from 1 to their number, or auto")
    kept = np.zeros(count, np.bool_)
    if not count:
        return kept
    cluster = k_means(points, clusters, seed=seed)
    members = [np.flatnonzero(cluster == number) for number in range(clusters)]
    for indices, quota in zip(members, _quotas([len(m) for m in members], int(count * sample_ratio + 0.5)), strict=True):
        kept[indices[_farthest_first(points[indices], quota)]] = True
    return kept


def _quotas(sizes: Sequence[int], wanted: int) -> list[int]:
    """``wanted`` in parts as large as ``sizes`` are (largest remainder, ties to the first)."""
    exact = [size * wanted / sum(sizes) for size in sizes]
    quotas = [int(part) for part in exact]
    by_rest = sorted(range(len(sizes)), key=lambda at: (quotas[at] - exact[at], at))
    for at in by_rest[: wanted - sum(quotas)]:
        quotas[at] += 1
    return quotas


def _farthest_first(points: Floats, wanted: int) -> list[int]:
    if not wanted:
        return []
    chosen = [int(_squares(points, points.mean(axis=0)).argmin())]
    away = _squares(points, points[chosen[0]])
    away[chosen[0]] = -1.0
    while len(chosen) < wanted:
        at = int(away.argmax())
        chosen.append(at)
        away = np.minimum(away, _squares(points, points[at]))
        away[at] = -1.0
    return chosen

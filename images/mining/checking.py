"""What a pool must be before anything is ranked. A pool that does not fit together is refused; broken rows are set aside and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mining.boxes import Boxes, Floats, Ints
from mining.errors import MiningError
from mining.pool import Labelled, Pool

#: What rounding in half precision may add to a sum of probabilities or to a score.
_ROUNDING = 0.01


def checked(pool: Pool) -> Pool:
    """The pool with arrays of the right types. Raises MiningError with the part, the picture and what is wrong."""
    repeated = len(pool.ids) - len(set(pool.ids))
    if repeated:
        raise MiningError(f"ids: {repeated} are given twice; each candidate needs a name of its own")
    pool = replace(
        pool,
        predictions=None if pool.predictions is None else _checked_boxes(pool, "predictions", pool.predictions),
        probabilities=None if pool.probabilities is None else _checked_probabilities(pool, "probabilities", pool.probabilities),
        embeddings=None if pool.embeddings is None else _matrix("embeddings", pool.embeddings, len(pool), np.float32),
        views=None if pool.views is None else {name: _checked_view(pool, name, view) for name, view in pool.views.items()},
        hashes=None if pool.hashes is None else np.asarray(pool.hashes, np.uint64),
    )
    for part in ("hashes", "order"):
        value = getattr(pool, part)
        if value is not None:
            _length(part, value, len(pool))
    return replace(pool, labelled=_checked_labelled(pool))


def _length(part: str, value: Sequence[Any] | npt.NDArray[Any], rows: int) -> None:
    if len(value) != rows:
        raise MiningError(f"{part}: {len(value)} rows for {rows} candidates; give one for each id, in their order")


def _matrix(part: str, value: Any, rows: int, kind: Any) -> Any:
    try:
        matrix: Any = np.ascontiguousarray(value, kind)
    except (TypeError, ValueError) as error:
        raise MiningError(f"{part}: not an array of numbers ({error})") from error
    if matrix.ndim != 2:
        raise MiningError(f"{part}: has the shape {matrix.shape}; give a row of numbers per candidate")
    _length(part, matrix, rows)
    return matrix


def _checked_view(pool: Pool, name: str, view: Sequence[Boxes] | Floats) -> Sequence[Boxes] | Floats:
    part = f"views[{name!r}]"
    return _checked_probabilities(pool, part, view) if isinstance(view, np.ndarray) else _checked_boxes(pool, part, view)


def _checked_probabilities(pool: Pool, part: str, given: Any) -> Floats:
    matrix: Floats = _matrix(part, given, len(pool), np.float64)
    if pool.class_names and matrix.shape[1] != len(pool.class_names):
        raise MiningError(f"{part}: {matrix.shape[1]} columns for {len(pool.class_names)} class names")
    with np.errstate(invalid="ignore"):
        wrong = (matrix < -_ROUNDING).any(axis=1) | (matrix.sum(axis=1) > 1 + _ROUNDING)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise MiningError(f"{part} of {pool.ids[row]!r}: {matrix[row][:8].tolist()} is no distribution; give probabilities that sum to 1")
    return np.clip(matrix, 0.0, None)


def _checked_boxes(pool: Pool, part: str, given: Sequence[Boxes]) -> list[Boxes]:
    _length(part, given, len(pool))
    return [_checked_picture(f"{part} of {name!r}", boxes, len(pool.class_names)) for name, boxes in zip(pool.ids, given, strict=True)]


def _checked_picture(place: str, boxes: Boxes, class_count: int) -> Boxes:
    try:
        corners, scores = np.asarray(boxes.corners, float).reshape(-1, 4), np.asarray(boxes.scores, float)
        classes = np.asarray(boxes.classes, np.int64)
    except (TypeError, ValueError) as error:
        raise MiningError(f"{place}: not arrays of numbers ({error})") from error
    parts = {"corners": corners, "classes": classes, "probabilities": boxes.probabilities, "features": boxes.features}
    for name, value in parts.items():
        if value is not None and len(value) != len(scores):
            raise MiningError(f"{place}: {len(value)} {name} for {len(scores)} scores")
    if len(classes) and (classes.min() < 0 or (class_count and classes.max() >= class_count)):
        raise MiningError(
            f"{place}: class {int(classes.max() if classes.min() >= 0 else classes.min())} is none of the {class_count} class names"
        )
    if ((scores < -_ROUNDING) | (scores > 1 + _ROUNDING)).any():
        raise MiningError(f"{place}: score {scores[(scores < -_ROUNDING) | (scores > 1 + _ROUNDING)][0]:g} is outside [0, 1]")
    return replace(boxes, corners=corners, scores=np.clip(scores, 0.0, 1.0), classes=classes)


def _checked_labelled(pool: Pool) -> Labelled:
    labelled = pool.labelled
    counts, points = labelled.class_counts, labelled.embeddings
    if counts is not None:
        counts = np.asarray(counts, float)
        if pool.class_names and len(counts) != len(pool.class_names):
            raise MiningError(f"labelled.class_counts: {len(counts)} counts for {len(pool.class_names)} class names")
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise MiningError(f"labelled.class_counts: {counts.tolist()[:8]} holds what is no count")
    if points is not None:
        points = _matrix("labelled.embeddings", points, len(points), np.float32)
        if pool.embeddings is not None and len(points) and points.shape[1] != pool.embeddings.shape[1]:
            raise MiningError(f"labelled.embeddings: {points.shape[1]} numbers each, and the candidates' have {pool.embeddings.shape[1]}")
        points = points[np.isfinite(points).all(axis=1)]
    return replace(labelled, class_counts=counts, embeddings=points)


def without_broken_boxes(pool: Pool) -> tuple[Pool, int]:
    """The pool without boxes whose score, corners, probabilities or features are no finite numbers, and how many there were (views not counted)."""
    if pool.predictions is None:
        return pool, 0
    whole = [_finite_boxes(boxes) for boxes in pool.predictions]
    dropped = sum(map(len, pool.predictions)) - sum(map(len, whole))
    views = pool.views and {
        name: view if isinstance(view, np.ndarray) else [_finite_boxes(boxes) for boxes in view] for name, view in pool.views.items()
    }
    return replace(pool, predictions=whole, views=views), dropped


def _finite_boxes(boxes: Boxes) -> Boxes:
    good = np.isfinite(boxes.scores) & np.isfinite(boxes.corners).all(axis=1)
    for part in (boxes.probabilities, boxes.features):
        if part is not None and len(part):
            good &= np.isfinite(part).all(axis=1)
    return boxes if good.all() else boxes.keep(good)


def broken_rows(pool: Pool) -> dict[str, Ints]:
    """Rows that cannot be ranked, by the part that is not finite: "embedding", "class probabilities"."""
    parts: dict[str, list[Floats | Any]] = {"embedding": [pool.embeddings], "class probabilities": [pool.probabilities]}
    parts["class probabilities"] += [view for view in (pool.views or {}).values() if isinstance(view, np.ndarray)]
    found = {}
    for name, matrices in parts.items():
        bad = np.zeros(len(pool), bool)
        for matrix in matrices:
            if matrix is not None:
                bad |= ~np.isfinite(matrix).all(axis=1)
        if bad.any():
            found[name] = np.flatnonzero(bad)
    return found

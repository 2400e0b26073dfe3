"""What a pool must be before anything is ranked. A pool that does not fit together is refused; broken rows are set aside and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mining.boxes import Boxes, Floats, Ints
from mining.errors import MiningError
from mining.pool import Embeddings, Labelled, Pool

#: What rounding in half precision may add to a sum of probabilities or to a score.
_ROUNDING = 0.01
_LARGEST = 1e15


def checked(pool: Pool) -> Pool:
    """The pool with arrays of the right types. Raises MiningError with the part, the picture and what is wrong."""
    _check_ids(pool.ids)
    pool = replace(pool, labelled=_checked_labelled(pool))
    views = pool.views
    pool = replace(
        pool,
        predictions=None if pool.predictions is None else _checked_boxes(pool, "predictions", pool.predictions),
        probabilities=None if pool.probabilities is None else _checked_probabilities(pool, "probabilities", pool.probabilities),
        embeddings=None if pool.embeddings is None else _matrix("embeddings", pool.embeddings, len(pool), np.float32),
        views=None if views is None else {name: _checked_view(pool, f"views[{name!r}]", view) for name, view in views.items()},
        hashes=None if pool.hashes is None else _hashes("hashes", pool.hashes),
    )
    for part in ("hashes", "order"):
        value = getattr(pool, part)
        if value is not None:
            _length(part, value, len(pool))
    _check_widths(pool)
    return pool


def _check_ids(ids: Sequence[Any]) -> None:
    strange = next((name for name in ids if not isinstance(name, str)), None)
    if strange is not None:
        raise MiningError(f"ids: {strange!r} is no text; give the name of each picture")
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise MiningError(f"ids: {repeated} are given twice; each candidate needs a name of its own")


def _length(part: str, value: Sequence[Any] | npt.NDArray[Any], rows: int) -> None:
    if len(value) != rows:
        raise MiningError(f"{part}: {len(value)} rows for {rows} candidates; give one for each id, in their order")


def _numbers(part: str, value: Any, kind: Any) -> Any:
    try:
        with np.errstate(over="ignore"):  # a number beyond the type is infinite, and told as that
            return np.ascontiguousarray(value, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise MiningError(f"{part}: not an array of numbers ({error})") from error


def _hashes(part: str, value: Any) -> npt.NDArray[np.uint64]:
    """(n,) whole numbers as 64 bits; a negative one is read as its bits."""
    hashes = np.asarray(value)
    if hashes.ndim != 1 or (hashes.size and hashes.dtype.kind not in "ui"):
        raise MiningError(f"{part}: an array of {hashes.dtype} of the shape {hashes.shape}; give a whole number of 64 bits for each")
    return hashes.astype(np.uint64)


def _matrix(part: str, value: Any, rows: int, kind: Any) -> Any:
    matrix = _numbers(part, value, kind)
    if matrix.ndim != 2:
        raise MiningError(f"{part}: has the shape {matrix.shape}; give a row of numbers for each")
    _length(part, matrix, rows)
    return matrix


def _class_count(pool: Pool) -> int:
    """How many classes there are; 0 where nobody says."""
    counts = pool.labelled.class_counts
    return len(pool.class_names) or (0 if counts is None else len(counts))


def _checked_view(pool: Pool, part: str, view: Any) -> Sequence[Boxes] | Floats:
    boxes = pool.kind == "detection" or (not pool.kind and not isinstance(view, np.ndarray))
    return _checked_boxes(pool, part, view) if boxes else _checked_probabilities(pool, part, view)


def _checked_probabilities(pool: Pool, part: str, given: Any) -> Floats:
    matrix: Floats = _matrix(part, given, len(pool), np.float64)
    if _class_count(pool) not in (0, matrix.shape[1]) or (len(matrix) and not matrix.shape[1]):
        raise MiningError(f"{part}: {matrix.shape[1]} columns for {_class_count(pool)} class names")
    with np.errstate(invalid="ignore"):
        wrong = (matrix < -_ROUNDING).any(axis=1) | (matrix.sum(axis=1) > 1 + _ROUNDING)
    if (wrong & np.isfinite(matrix).all(axis=1)).any():
        row = int(np.argmax(wrong & np.isfinite(matrix).all(axis=1)))
        raise MiningError(f"{part} of {pool.ids[row]!r}: {matrix[row][:8].tolist()} is no distribution; give probabilities that sum to 1")
    return np.clip(matrix, 0.0, None)


def _checked_boxes(pool: Pool, part: str, given: Sequence[Any]) -> list[Boxes]:
    _length(part, given, len(pool))
    count = _class_count(pool)
    return [_checked_picture(f"{part} of {name!r}", boxes, count) for name, boxes in zip(pool.ids, given, strict=True)]


def _checked_picture(place: str, boxes: Any, class_count: int) -> Boxes:
    if not isinstance(boxes, Boxes):
        raise MiningError(f"{place}: {type(boxes).__name__} is no Boxes")
    scores, classes = _numbers(f"{place}, scores", boxes.scores, np.float64), _numbers(f"{place}, classes", boxes.classes, np.int64)
    if scores.ndim != 1 or classes.shape != scores.shape:
        raise MiningError(f"{place}: {classes.size} classes for {scores.size} scores; give one of each for every box")
    corners = _rows(f"{place}, corners", boxes.corners, len(scores), 4)
    probabilities = None if boxes.probabilities is None else _rows(f"{place}, probabilities", boxes.probabilities, len(scores), class_count)
    features = None if boxes.features is None else _rows(f"{place}, features", boxes.features, len(scores), 0)
    if len(classes) and (classes.min() < 0 or (class_count and classes.max() >= class_count)):
        raise MiningError(
            f"{place}: class {int(classes.max() if classes.min() >= 0 else classes.min())} is none of the {class_count} class names"
        )
    outside = (scores < -_ROUNDING) | ((scores > 1 + _ROUNDING) & np.isfinite(scores))
    if outside.any():
        raise MiningError(f"{place}: score {scores[outside][0]:g} is outside [0, 1]")
    scores = np.where(np.isfinite(scores), np.clip(scores, 0.0, 1.0), np.nan)
    return Boxes(corners, scores, classes, probabilities, features)


def _rows(place: str, value: Any, rows: int, columns: int) -> Floats:
    """(rows, columns) numbers; any number of columns where 0 is given, and any shape where there are no rows."""
    matrix: Floats = _numbers(place, value, np.float64)
    if not rows and not matrix.size:
        return np.zeros((0, columns or (matrix.shape[1] if matrix.ndim == 2 else 0)))
    if matrix.ndim != 2 or len(matrix) != rows or (columns and matrix.shape[1] != columns) or not matrix.shape[1]:
        raise MiningError(f"{place}: has the shape {matrix.shape} for {rows} boxes" + (f" of {columns} numbers" if columns else ""))
    return matrix


def _check_widths(pool: Pool) -> None:
    """Every box has as many numbers as the others."""
    for name, parts in (("features", _parts(pool, "features")), ("probabilities", _parts(pool, "probabilities"))):
        widths = {part.shape[1] for part in parts}
        if len(widths) > 1:
            raise MiningError(f"predictions: boxes have {name} of {' and '.join(map(str, sorted(widths)))} numbers; give all the same")


def _parts(pool: Pool, name: str) -> list[Any]:
    views = [view for view in (pool.views or {}).values() if not isinstance(view, np.ndarray)]
    found = (getattr(boxes, name) for view in (pool.predictions or (), *views) for boxes in view)
    return [part for part in found if part is not None and len(part)]


def _checked_labelled(pool: Pool) -> Labelled:
    labelled = pool.labelled
    points = labelled.embeddings
    if points is not None:
        points = _matrix("labelled.embeddings", points, len(points), np.float32)
        wide = None if pool.embeddings is None else np.shape(pool.embeddings)
        if wide is not None and len(points) and len(wide) == 2 and points.shape[1] != wide[1]:
            raise MiningError(f"labelled.embeddings: {points.shape[1]} numbers each, and the candidates' have {wide[1]}")
        points = points[usable(points)]
    return replace(
        labelled,
        class_counts=_per_class(pool, "class_counts", np.inf),
        class_difficulty=_per_class(pool, "class_difficulty", 1.0),
        embeddings=points,
        hashes=None if labelled.hashes is None else _hashes("labelled.hashes", labelled.hashes),
    )


def _per_class(pool: Pool, part: str, most: float) -> Floats | None:
    """A number for each class, from 0 to ``most``."""
    given = getattr(pool.labelled, part)
    if given is None:
        return None
    values: Floats = _numbers(f"labelled.{part}", given, np.float64).reshape(-1)
    if pool.class_names and len(values) != len(pool.class_names):
        raise MiningError(f"labelled.{part}: {len(values)} numbers for {len(pool.class_names)} class names")
    if not (np.isfinite(values) & (values >= 0) & (values <= most)).all():
        raise MiningError(f"labelled.{part}: {values.tolist()[:8]} holds what is none; give numbers from 0 to {most:g}")
    return values


def usable(points: Embeddings | Floats) -> Any:
    """(n,) whether the numbers of each row are finite, and small enough for float32 to hold their squares."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(points).all(axis=1) & (np.abs(points) < _LARGEST).all(axis=1)


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
                bad |= ~usable(matrix)
        if bad.any():
            found[name] = np.flatnonzero(bad)
    return found

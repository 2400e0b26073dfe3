"""Labels of whole pictures: one each, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.evaluation.confusion import cells_of
from analysis.evaluation.definitions import defined
from analysis.evaluation.objects import Flags, Floats, InputError, Ints
from analysis.evaluation.operating import Counts, ratio


def evaluate_classification(
    truth: Any, predicted: Any, class_names: Sequence[str], *, scores: Any = None, places: Any = None
) -> dict[str, Any]:
    """One label a picture. ``truth``, ``predicted``: (n,) class numbers; -1 as prediction: none was made, which is wrong.

    ``predicted`` None: the surest of ``scores``, (n, k), which also give the top five. ``places``: (n,) instead
    of the scores, how many classes are surer than the true one. Raises ``InputError``.
    """
    k = len(class_names)
    surest = None if scores is None else _scores(scores, k)
    labels = _labels("truth", truth, k, least=0)
    if predicted is None and surest is None:
        raise InputError("neither predictions nor scores")
    guesses = surest.argmax(axis=1) if predicted is None and surest is not None else _labels("predicted", predicted, k, least=-1)
    if len(guesses) != len(labels) or (surest is not None and len(surest) != len(labels)):
        raise InputError(f"{len(labels)} truths, but {len(guesses)} predictions")
    right = labels == guesses
    metrics: dict[str, Any] = {"accuracy": _share(right)}
    if surest is not None:
        places = places_of(surest, labels)
    if places is not None:
        metrics["top5_accuracy"] = _share(np.asarray(places) < 5)
    cells = cells_of(labels, np.where(guesses < 0, k, guesses), k)
    tp = np.bincount(labels[right], minlength=k)
    counts = Counts(tp, np.bincount(guesses[guesses >= 0], minlength=k) - tp, np.bincount(labels, minlength=k) - tp)
    words = [*class_names, None]
    confusion = [
        {"true": words[row], "predicted": words[column], "count": times}
        for row, column, times in zip(cells.truth.tolist(), cells.predicted.tolist(), cells.count.tolist(), strict=True)
    ]
    return _document("classification", metrics, counts, class_names, {"pictures": len(labels), "confusion": confusion})


def evaluate_labels(truth: Any, predicted: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """Several labels a picture. ``truth``, ``predicted``: (n, k) of whether each class is there. Raises ``InputError``."""
    k = len(class_names)
    true, guess = (np.asarray(flags, dtype=np.bool_).reshape(-1, k) for flags in (truth, predicted))
    if len(true) != len(guess):
        raise InputError(f"{len(true)} truths, but {len(guess)} predictions")
    tp = (true & guess).sum(axis=0)
    counts = Counts(tp, guess.sum(axis=0) - tp, true.sum(axis=0) - tp)
    return _document(
        "multi-label classification", {"subset_accuracy": _share((true == guess).all(axis=1))}, counts, class_names, {"pictures": len(true)}
    )


def places_of(scores: Floats, labels: Ints) -> Ints:
    """(n,) how many classes are surer than the true one; of equal scores the class that comes first is surer."""
    own = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    places: Ints = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return places


def _document(kind: str, metrics: dict[str, Any], counts: Counts, names: Sequence[str], more: dict[str, Any]) -> dict[str, Any]:
    rates = {
        name: np.nan_to_num(rate) for name, rate in {"precision": counts.precision(), "recall": counts.recall(), "f1": counts.f1()}.items()
    }
    support, occurs = counts.tp + counts.fn, (counts.tp + counts.fn + counts.fp) > 0
    total = counts.total()
    together = {"precision": total.precision()[0], "recall": total.recall()[0], "f1": total.f1()[0]}
    for name, rate in rates.items():
        metrics[f"macro_{name}"] = float(rate[occurs].mean()) if occurs.any() else None
        metrics[f"micro_{name}"] = None if np.isnan(together[name]) else float(together[name])
        metrics[f"weighted_{name}"] = float((rate * support).sum() / support.sum()) if support.sum() else None
    columns = {"objects": support, "tp": counts.tp, "fp": counts.fp, "fn": counts.fn}
    classes = [
        {"class": name, **{column: int(values[row]) for column, values in columns.items()}, **_rates_of(counts, row)}
        for row, name in enumerate(names)
    ]
    return {"kind": kind, "metrics": metrics, "classes": classes, **more, "definitions": defined([*metrics, "precision", "recall", "f1"])}


def _rates_of(counts: Counts, row: int) -> dict[str, float | None]:
    one = Counts(*(column[row : row + 1] for column in (counts.tp, counts.fp, counts.fn)))
    rates = {"precision": one.precision()[0], "recall": one.recall()[0], "f1": one.f1()[0]}
    return {name: None if np.isnan(rate) else float(rate) for name, rate in rates.items()}


def _share(right: Flags) -> float | None:
    share = float(ratio(np.array([right.sum()]), np.array([len(right)]))[0])
    return None if np.isnan(share) else share


def _labels(name: str, column: Any, k: int, least: int) -> Ints:
    values = np.asarray(column)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(f"{name}: {values.dtype} are no whole numbers")
    labels = values.astype(np.int64).reshape(-1)
    wrong = (labels < least) | (labels >= k)
    if wrong.any():
        raise InputError(f"{name}: {labels[wrong][0]}, but there are {k} classes", int(np.argmax(wrong)))
    return labels


def _scores(scores: Any, k: int) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != k or not k:
        raise InputError(f"scores: {values.shape}, but there are {k} classes")
    if not np.isfinite(values).all():
        raise InputError("scores: not a number", int(np.argmax(~np.isfinite(values).all(axis=1))))
    return values

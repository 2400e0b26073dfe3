"""``analyse``: what a training code that was written for ModelArts calls at its end (modelarts-spec 13). Four JSON files come out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.classification import evaluate_classification, places_of
from analysis.evaluation.detection import evaluate_detection
from analysis.evaluation.objects import InputError, make_predictions, make_truths

#: Of sensitivity: so many parts of equal size, by confidence, brightness and so on.
_PARTS = 4
_LISTED_ERRORS = 100
_SAID_CLASSES = 10


def analyse(
    task_type: str,
    pred_list: Sequence[Any],
    label_list: Sequence[Any],
    name_list: Sequence[str],
    label_map_dict: str | Mapping[Any, str],
    save_path: str | os.PathLike[str],
) -> dict[str, Any]:
    """Writes ``overview.json``, ``precision.json``, ``sensitivity.json`` and ``indicators.json`` into ``save_path``; returns them by name.

    ``task_type`` ``image_classification``: ``pred_list`` has a probability for each class of each sample, ``label_list`` the number of the true
    class. ``object_detection``: both have ``{"boxes": [[x1, y1, x2, y2], ...], "labels": [...]}`` of each sample, predictions also ``"scores"``.
    ``name_list``: the path of each sample, as it is to be shown; pictures that can be read there are also told apart by how they look.
    ``label_map_dict``: JSON text, or a dict, of class names by number. Raises ``InputError`` (a ``ValueError``); nothing is written then.
    """
    kinds: dict[str, Callable[..., dict[str, Any]]] = {"image_classification": _classified, "object_detection": _detected}
    if task_type not in kinds:
        raise InputError(f"task_type: {task_type!r} is none of {', '.join(kinds)}")
    if not len(pred_list) == len(label_list) == len(name_list):
        raise InputError(f"{len(pred_list)} predictions, {len(label_list)} labels and {len(name_list)} names")
    if not len(name_list):
        raise InputError("no samples")
    made = kinds[task_type](pred_list, label_list, [str(name) for name in name_list], _names(label_map_dict))
    made["overview"] = {"task_type": task_type, "samples": len(name_list), **made["overview"]}
    _write(Path(save_path), made)
    return made


def _names(label_map: str | Mapping[Any, str]) -> list[str]:
    """Class names in the order of their numbers, which must be 0, 1, 2, ..."""
    try:
        mapping = json.loads(label_map) if isinstance(label_map, str) else label_map
        names = {int(number): str(name) for number, name in mapping.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"label_map_dict: {error}") from error
    if sorted(names) != list(range(len(names))) or not names:
        raise InputError(f"label_map_dict: its numbers are {sorted(names)}, not 0, 1, 2, ...")
    return [names[number] for number in range(len(names))]


def _write(folder: Path, made: Mapping[str, Any]) -> None:
    """Each file whole or not at all."""
    texts = {name: json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) for name, document in made.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        aside = folder / f".{name}.json.new"
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / f"{name}.json")


# ------------------------------------------------------------------------------------------------------------ classification


def _classified(pred_list: Sequence[Any], label_list: Sequence[Any], names: list[str], classes: list[str]) -> dict[str, Any]:
    try:
        scores, truth = np.asarray(pred_list, np.float64), np.asarray(label_list, np.int64).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"pred_list or label_list: {error}") from error
    document = evaluate_classification(truth, None, classes, scores=scores)
    guess, sureness = scores.argmax(axis=1), scores.max(axis=1)
    right = guess == truth
    errors = [
        {"name": names[row], "true": classes[truth[row]], "predicted": classes[guess[row]], "confidence": float(sureness[row])}
        for row in np.flatnonzero(~right)[np.argsort(-sureness[~right], kind="stable")][:_LISTED_ERRORS]
    ]
    places = places_of(scores, truth)
    accuracy = {f"top{n}_accuracy": float((places < n).mean()) for n in (1, 3, 5) if n <= len(classes)}
    counts = {"classes": len(classes), "right": int(right.sum()), "wrong": int((~right).sum())}
    return {
        "overview": {**counts, "accuracy": document["metrics"]["accuracy"], "suggestions": _suggestions(document)},
        "precision": {
            "classes": document["classes"],
            "confusion": document["confusion"],
            "surest_errors": errors,
            "errors": counts["wrong"],
        },
        "sensitivity": {"confidence": _parts(sureness, right), **_by_look(names, right)},
        "indicators": {"metrics": {**document["metrics"], **accuracy}, "definitions": document["definitions"]},
    }


def _suggestions(document: Mapping[str, Any]) -> list[str]:
    """Facts that somebody can act on: weak classes, classes without samples, and what is taken for what."""
    weak = sorted((row for row in document["classes"] if row["recall"] is not None and row["recall"] < 0.5), key=lambda row: row["recall"])
    said = [f"{row['class']}: only {row['recall']:.0%} of {row['objects']} found; more of them may help" for row in weak[:_SAID_CLASSES]]
    said += [f"{row['class']}: nothing to measure it on" for row in document["classes"] if not row["objects"]][:_SAID_CLASSES]
    wrong = sorted((cell for cell in document["confusion"] if cell["true"] != cell["predicted"]), key=lambda cell: -cell["count"])
    return said + [f"{cell['true']} was taken for {cell['predicted']} {cell['count']} times; look at their labels" for cell in wrong[:3]]


# ---------------------------------------------------------------------------------------------------------------- detection


def _detected(pred_list: Sequence[Any], label_list: Sequence[Any], names: list[str], classes: list[str]) -> dict[str, Any]:
    truth = make_truths(*_columns("label_list", label_list, ("boxes", "labels")))
    found = make_predictions(*_columns("pred_list", pred_list, ("boxes", "labels", "scores")))
    made = evaluate_detection(truth, found, classes)
    document, at = made.document, made.operating
    missed = np.bincount(truth.image[~at.ignored & (at.found_by < 0)], minlength=len(names))
    wrong = np.bincount(found.image[at.sure & at.wrong], minlength=len(names))
    faults = missed + wrong
    worst = [
        {"name": names[row], "missed": int(missed[row]), "wrong": int(wrong[row])}
        for row in np.argsort(-faults, kind="stable")[:_LISTED_ERRORS]
        if faults[row]
    ]
    numbers = {name: document["metrics"][name] for name in ("AP", "AP50", "tp", "fp", "fn")}
    return {
        "overview": {
            "classes": len(classes),
            "objects": len(truth),
            "predictions": len(found),
            **numbers,
            "suggestions": _suggestions(document),
        },
        "precision": {"classes": document["classes"], "confusion": document["confusion"], "worst_pictures": worst},
        "sensitivity": {"size": document["by_size"], **_by_look(names, faults == 0)},
        "indicators": {"metrics": document["metrics"], "definitions": document["definitions"]},
    }


def _columns(what: str, samples: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Sample, label, x y width height and, where asked for, score of all boxes."""
    parts: dict[str, list[Any]] = {name: [] for name in ("sample", *names)}
    for number, sample in enumerate(samples):
        if not isinstance(sample, Mapping) or not set(names) <= set(sample) or len({len(sample[name]) for name in names}) != 1:
            raise InputError(f"{what}: sample {number} does not have {' and '.join(names)} of one length", number)
        parts["sample"] += [number] * len(sample["boxes"])
        for name in names:
            parts[name] += list(sample[name])
    try:
        corners = np.asarray(parts["boxes"], np.float64).reshape(-1, 4)
        labels = np.asarray(parts["labels"], np.int64)
        scores = [np.asarray(parts["scores"], np.float64)] if "scores" in names else []
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{what}: {error}") from error
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [np.asarray(parts["sample"], np.int64), labels, boxes, *scores]


# -------------------------------------------------------------------------------------------------------------- sensitivity


def _by_look(names: Sequence[str], right: NDArray[np.bool_]) -> dict[str, Any]:
    """How the share of right samples depends on brightness and size, where all pictures can be read; ``unreadable`` tells how many cannot."""
    looks = [_look(name) for name in names]
    seen = np.array([look is not None for look in looks])
    if not seen.any():
        return {"unreadable": len(names)}
    columns = np.array([look for look in looks if look is not None])
    return {
        "unreadable": int((~seen).sum()),
        "brightness": _parts(columns[:, 0], right[seen]),
        "pixels": _parts(columns[:, 1], right[seen]),
    }


def _look(name: str) -> tuple[float, float] | None:
    """Mean brightness, 0 to 255, and number of pixels."""
    from PIL import Image

    try:
        with Image.open(name) as picture:
            picture.draft("L", (64, 64))
            width, height = picture.size
            return float(np.asarray(picture.convert("L").resize((32, 32))).mean()), float(width * height)
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _parts(values: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The share of right samples in up to four parts of about equal number, by value; equal values are never parted."""
    bounds = np.unique(np.quantile(values, np.linspace(0, 1, _PARTS + 1)))
    part = np.clip(np.searchsorted(bounds, values, side="right") - 1, 0, max(len(bounds) - 2, 0))
    return [
        {
            "from": float(values[part == number].min()),
            "to": float(values[part == number].max()),
            "samples": int((part == number).sum()),
            "accuracy": float(right[part == number].mean()),
        }
        for number in np.unique(part)
    ]

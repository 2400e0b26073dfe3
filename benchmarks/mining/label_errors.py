"""T5, label errors: one label in a tenth of BCCD's pictures dropped, given another class or moved; who finds the pictures?

Predictions are cross-validated (two folds, trained on the spoilt labels). Beside cleanlab's ObjectLab and the formula of FiftyOne's mistakenness
(re-implemented, as the program is not needed for it). AP and AUROC of the ranking of the pictures, and AUROC by kind of error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.measure import Sheet
from benchmarks.mining import results
from benchmarks.mining.data import Scenes, Truth, bccd, plant_errors

Floats = npt.NDArray[np.float64]
KINDS = ("drop", "swap", "shift")
_STEPS = 320


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``label_errors [--seeds N] [--report]``: runs what is missing; every seed plants other errors."""
    parser = argparse.ArgumentParser(prog="scripts/bench mining.label_errors", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1 if quick else 5)
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args(list(arguments))
    for seed in [] if asked.report else range(asked.seeds):
        if results.missing("label_errors", "all", [seed]):
            results.append("label_errors", [{"strategy": "all", "seed": seed, "found": of_seed(seed, 20 if quick else _STEPS)}])
    return [report(results.read("label_errors"))]


def of_seed(seed: int, steps: int = _STEPS) -> dict[str, dict[str, float]]:
    """By ranking, AP and AUROC over all planted errors, and AUROC by kind."""
    from mining.boxes import Boxes

    pool, _ = bccd()
    spoilt, kinds = plant_errors(pool.truths, len(pool.class_names), seed)
    found = cross_validated(pool, spoilt, seed, steps)
    labels = [Boxes(truth.corners, np.ones(len(truth)), truth.classes) for truth in spoilt]
    dice = np.random.default_rng(seed)
    rankings = {**rank_all(found, labels, len(pool.class_names)), "random": dice.random(len(pool))}
    return {name: _judge(scores, np.array(kinds)) for name, scores in rankings.items()}


def cross_validated(pool: Scenes, spoilt: Sequence[Truth], seed: int, steps: int, folds: int = 2) -> list[Any]:
    """The boxes of each picture, found by a detector that was trained on the other folds' spoilt labels."""
    from benchmarks.mining import detector

    spoilt_pool = Scenes(pool.names, pool.pictures, spoilt, pool.groups, pool.class_names)
    fold = np.random.default_rng([seed, 5]).permutation(len(pool)) % folds
    found: list[Any] = [None] * len(pool)
    for one in range(folds):
        model = detector.train_base(spoilt_pool.take(np.flatnonzero(fold != one)), seed, steps)
        rows = np.flatnonzero(fold == one)
        for row, boxes in zip(rows, detector.detect(model, pool.pictures[rows]).boxes, strict=True):
            found[row] = boxes
    return found


def rank_all(found: Sequence[Any], labels: Sequence[Any], class_count: int) -> Mapping[str, Floats]:
    """Scores of every picture by each ranking, higher is more suspect."""
    from mining.boxes import disagreement
    from mining.label_quality import label_doubt

    return {
        "ours: label_doubt": label_doubt(found, labels),
        "ours: 1 - F1": np.array([disagreement(boxes.at_least(0.3), label) for boxes, label in zip(found, labels, strict=True)]),
        "cleanlab ObjectLab": _objectlab(found, labels, class_count),
        "FiftyOne mistakenness": np.array([_mistakenness(boxes.at_least(0.3), label) for boxes, label in zip(found, labels, strict=True)]),
    }


def _objectlab(found: Sequence[Any], labels: Sequence[Any], class_count: int) -> Floats:
    from cleanlab.object_detection.rank import get_label_quality_scores

    theirs = [{"bboxes": label.corners.astype(np.float32), "labels": label.classes} for label in labels]
    predicted = [
        np.array(
            [np.column_stack([b.corners, b.scores])[b.classes == label].astype(np.float32) for label in range(class_count)] + [None],
            dtype=object,
        )[:-1]
        for b in found
    ]
    quality: Floats = 1 - np.asarray(get_label_quality_scores(theirs, predicted, verbose=False), float)
    return quality


def _mistakenness(found: Any, truth: Any) -> float:
    """FiftyOne's for detections: of matched pairs the larger of (1 +- confidence) / 2 and of where they lie; 1 for a missing or a spurious label."""
    from mining.boxes import iou

    overlaps = iou(found.corners, truth.corners)
    pairs = []
    while overlaps.size and overlaps.max() >= 0.5:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        pairs.append((int(row), int(column), float(overlaps[row, column])))
        overlaps[row, :], overlaps[:, column] = -1, -1
    scores = [0.0]
    for row, column, overlap in pairs:
        sure = float(found.scores[row])
        of_class = (1 - sure) / 2 if found.classes[row] == truth.classes[column] else (1 + sure) / 2
        of_place = (sure * (2 * (1 - overlap) / 0.5 - 1) + 1) / 2
        scores += [of_class, of_place]
    missing = np.delete(found.scores, [row for row, _, _ in pairs]) > 0.95
    return 1.0 if missing.any() or len(pairs) < len(truth) else max(scores)


def _judge(scores: Floats, kinds: npt.NDArray[np.str_]) -> dict[str, float]:
    spoilt = kinds != ""
    found = {"AP": float(average_precision_score(spoilt, scores)), "AUROC": float(roc_auc_score(spoilt, scores))}
    for kind in KINDS:
        chosen = (kinds == kind) | ~spoilt
        found[kind] = float(roc_auc_score(spoilt[chosen], scores[chosen])) if (kinds == kind).any() else float("nan")
    return found


def report(runs: Sequence[dict[str, Any]]) -> Sheet:
    """Mean and standard deviation over the seeds."""
    columns = ["AP", "AUROC", *KINDS]
    names = list(runs[0]["found"]) if runs else []
    table = {name: np.array([[run["found"][name][column] for column in columns] for run in runs]) for name in names}
    rows = [
        [name, *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(np.nanmean(table[name], 0), np.nanstd(table[name], 0), strict=True))]
        for name in sorted(names, key=lambda name: -table[name][:, 1].mean())
    ]
    title = f"label errors planted in a tenth of BCCD's pictures, {len(runs)} seeds"
    return Sheet(title, ["ranking", "AP", "AUROC", *(f"AUROC {kind}" for kind in KINDS)], rows)

"""feature_distribution_mining (reasons 5 to 18): a picture's brightness, number of boxes, ... lies far from the training data's.

Of each of the 14 data features (``analysis.features``) a robust z against the training data; a reason fires at z > 3.5 and ``s = sum of w min(1, z
/ 7) over what fired / sum of w``. The clarity goes by its logarithm. That misses a whole batch that shifted within the range of the training data:
the report says, of each feature, how far the batch as a whole is from it (Kolmogorov-Smirnov, PSI).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mining.boxes import Floats
from mining.hard_examples.neighbours import LEAST_REFERENCES
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.reasons import BOX_FEATURES, FEATURE_CODES, FEATURES
from mining.hard_examples.spread import FIRES_ABOVE_Z, kolmogorov_smirnov, robust_spread, stability_index, strength_of_z
from mining.hard_examples.verdict import NONE, Codes, MissingInputError, Verdict

SHIFTED_ABOVE_PSI = 0.2
#: Values closer than this are the same to the eye: half a box, a grey level, a hundredth of a share.
_FLOORS = {
    "image_resolution": 1.0, "image_aspect_ratio": 1e-3, "image_brightness": 0.5, "image_saturation": 5e-3, "image_colorfulness": 0.5,
    "ambiguity": 0.02, "bbox_num": 0.5, "bbox_std": 1e-3, "bbox_aspect_ratio": 0.01, "bbox_area_ratio": 1e-3, "bbox_edge_value": 5e-3,
    "bbox_bright": 0.5, "bbox_ambiguity": 0.02, "bbox_iou": 5e-3,
}  # fmt: skip
#: Features that move together: one cause fires several of a group, so that the report counts groups too.
GROUPS = {
    "size": ("image_resolution", "image_aspect_ratio"),
    "light and colour": ("image_brightness", "image_saturation", "image_colorfulness", "bbox_bright"),
    "clarity": ("ambiguity", "bbox_ambiguity"),
    "boxes": ("bbox_num", "bbox_std", "bbox_aspect_ratio", "bbox_area_ratio", "bbox_edge_value", "bbox_iou"),
}


class _Reference:
    """Median and spread of the training data for each feature of which enough is known."""

    def __init__(self, columns: Mapping[str, Floats]) -> None:
        known = {key: values[np.isfinite(values)] for key, values in columns.items()}
        self.values = {key: values for key, values in known.items() if len(values) >= LEAST_REFERENCES}
        found = {key: robust_spread(values, _FLOORS[key]) for key, values in self.values.items()}
        self._median = {key: median for key, (median, _, _) in found.items()}
        self._spread = {key: spread for key, (_, spread, _) in found.items()}
        self.degenerate = [key for key, (_, _, flat) in found.items() if flat]

    def z(self, key: str, values: Floats) -> Floats:
        distance: Floats = np.abs(values - self._median[key]) / self._spread[key]
        return distance


def judge(question: Question, parameters: Parameters) -> Verdict:
    weights = {key: weight for key, weight in parameters.feature_weights.items() if weight > 0}
    columns = _columns(question.features, "candidates", weights)
    trained = _columns(None if question.training is None else question.training.features, "training pictures", weights)
    reference = _Reference(trained)
    weights = {key: weight for key, weight in weights.items() if key in reference.values}
    if not weights:
        raise MissingInputError(f"no feature with a weight is known of {LEAST_REFERENCES} training pictures")
    z = {key: reference.z(key, columns[key]) for key in weights}
    codes, strengths = _of_pictures(z, weights, len(question))
    report = _report(reference, columns, trained, codes)
    return Verdict(
        strengths, strengths > 0, codes, _of_boxes(question, weights), {f"z.{key}": values for key, values in z.items()}, report=report
    )


def _columns(features: Floats | None, whose: str, keys: Mapping[str, float]) -> dict[str, Floats]:
    if features is None:
        raise MissingInputError(f"there are no features of the {whose}")
    table = np.asarray(features, np.float64)
    return {key: _scaled(key, table[:, FEATURES.index(key)]) for key in keys}


def _scaled(key: str, values: Floats) -> Floats:
    """The clarity is a variance over orders of magnitude: its logarithm is what differs evenly."""
    known = np.where(np.isfinite(values), values, np.nan)
    return np.log1p(known.clip(min=0)) if key in GROUPS["clarity"] else known


def _of_pictures(z: Mapping[str, Floats], weights: Mapping[str, float], count: int) -> tuple[list[Codes], Floats]:
    """The reasons with their parts, and the strengths: NaN where no feature of a picture is known."""
    total = sum(weights.values())
    codes: list[dict[int, float]] = [{} for _ in range(count)]
    strengths, known = np.zeros(count), np.zeros(count, bool)
    for key, values in z.items():
        parts = weights[key] / total * strength_of_z(values)
        known |= np.isfinite(values)
        for row in np.flatnonzero(values > FIRES_ABOVE_Z):
            codes[row][FEATURE_CODES[key]] = float(parts[row])
            strengths[row] += parts[row]
    return list(codes), np.where(known, strengths.clip(0, 1), np.nan)


def _of_boxes(question: Question, weights: Mapping[str, float]) -> Sequence[Sequence[Codes]] | None:
    """Each box against the boxes of the training data."""
    training = question.training
    if question.box_features is None or training is None or training.box_features is None or question.predictions is None:
        return None
    table = np.concatenate([np.zeros((0, len(BOX_FEATURES))), *training.box_features])
    reference = _Reference({key: _scaled(key, table[:, BOX_FEATURES.index(key)]) for key in BOX_FEATURES if key in weights})
    return [
        _codes_of_boxes(np.asarray(values, np.float64), 0 if boxes is None else len(boxes), reference, weights)
        for values, boxes in zip(question.box_features, question.predictions, strict=True)
    ]


def _codes_of_boxes(values: Floats, count: int, reference: _Reference, weights: Mapping[str, float]) -> list[Codes]:
    if len(values) != count:
        return [NONE] * count
    codes: list[dict[int, float]] = [{} for _ in range(count)]
    for key in reference.values:
        z = reference.z(key, _scaled(key, values[:, BOX_FEATURES.index(key)]))
        for box in np.flatnonzero(z > FIRES_ABOVE_Z):
            codes[box][FEATURE_CODES[key]] = float(weights[key] / sum(weights.values()) * min(1.0, z[box] / (2 * FIRES_ABOVE_Z)))
    return list(codes)


def _report(reference: _Reference, columns: Mapping[str, Floats], trained: Mapping[str, Floats], codes: Sequence[Codes]) -> dict[str, Any]:
    few = sorted(set(trained) - set(reference.values))
    of_group = {group: {FEATURE_CODES[key] for key in keys} for group, keys in GROUPS.items()}
    warnings = [
        f"feature_distribution_mining: {key} hardly differs in the training data, so that the slightest change counts"
        for key in reference.degenerate
    ]
    return {
        "not_compared": few,
        "degenerate": reference.degenerate,
        "pictures_by_group": {group: sum(not own.isdisjoint(found) for found in codes) for group, own in of_group.items()},
        "drift": {key: drift for key in reference.values if (drift := _drift(reference.values[key], columns[key])) is not None},
        "warnings": warnings,
    }


def _drift(reference: Floats, values: Floats) -> dict[str, Any] | None:
    batch = values[np.isfinite(values)]
    if not len(batch):
        return None
    distance, significant = kolmogorov_smirnov(reference, batch)
    index = stability_index(reference, batch)
    return {"ks": distance, "psi": index, "shifted": significant and index > SHIFTED_ABOVE_PSI, "pictures": len(batch)}

"""The operator's 15 parameters as ModelArts names them, and the few of our own; what is out of range is refused with the parameter's name.

The weight strings have the grammar ``item ("+" item)*`` with ``item = key ":" number``: ``predict_score_mining:0.39+anomaly_detection_mining:0.2``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mining.hard_examples.reasons import ALGORITHMS, FEATURES, OPERATIONS

CHECKPOINT_PATH = "/home/work/user-job-dir/data_filter/resnet_v1_50"
ALGORITHM_WEIGHTS = (
    "clustering_mining:0.2020+aug_consistent_mining:0.4265+feature_distribution_mining:0.0451+sequential_mining:0.425"
    "+image_similarity_mining:0.0949+predict_score_mining:0.3900+anomaly_detection_mining:0.2020"
)
OPERATION_WEIGHTS = "crop:0.1+fliplr:0.1+gaussianblur:0.1"
FEATURE_WEIGHTS = (
    "image_aspect_ratio:0.5+image_brightness:1.0+image_saturation:0.5+image_resolution:0.5+image_colorfulness:0.5+ambiguity:1.0"
    "+bbox_num:1.0+bbox_iou:1.0+bbox_std:0.5+bbox_bright:0.5+bbox_ambiguity:0.5+bbox_aspect_ratio:1.0+bbox_area_ratio:0.5+bbox_edge_value:0.5"
)
MARGIN_RULES = ("uncertainty", "literal")
SCORE_RULES = ("share", "expected")
EMPTY_POLICIES = ("hard", "prior", "ignore")
OUTPUT_TYPES = ("manifest", "directory")

_CONSTANTS = {"source_service": "inference", "filter_func": "comprehensive_mining", "checkpoint_path": CHECKPOINT_PATH}
_FRACTIONS = ("algo_hard_threshold", "score_threshold_up", "score_threshold_low", "margin", "similarity_sample_ratio", "empty_below")
_ADDRESSES = ("model_serving_url", "train_data_path", "task_summary_file")
_CHOICES = {"output_dataset_type": OUTPUT_TYPES, "score_rule": SCORE_RULES, "margin_rule": MARGIN_RULES, "empty_policy": EMPTY_POLICIES}


class ParameterError(ValueError):
    """A parameter has a value that it cannot have; the message begins with its name."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


@dataclass(frozen=True)
class Parameters:
    """What the operator is told (modelarts-spec 1.1). The first three are constants of ModelArts; the last six are ours.

    ``score_rule``: the strength of predicted boxes by the ``share`` of unsure ones, or as 1 - the F1 to be ``expected`` when scores are probabilities.
    ``margin_rule``: ``uncertainty`` calls a picture hard when ``1 - (p1 - p2)`` exceeds ``margin``; ``literal`` does as the document says and
    takes ``p1 - p2``, which selects the confident ones. ``empty_policy``: what a picture without any box is: ``hard`` with coefficient 1,
    ``prior`` (as hard as empty pictures were rare in the training data), or ``ignore``. ``empty_below``: boxes below this score do not count when it
    is asked whether a picture is empty. ``intercept``: where it is given, as ``fit_weights`` does, the coefficient is the probability
    ``1 / (1 + exp(-intercept - sum w s))`` over all strengths instead of the clipped sum over those that fired.
    """

    source_service: str = "inference"
    filter_func: str = "comprehensive_mining"
    checkpoint_path: str = CHECKPOINT_PATH
    model_serving_url: str | None = None
    train_data_path: str | None = None
    comprehensive_algo_config: str = ALGORITHM_WEIGHTS
    algo_hard_threshold: float = 0.1
    aug_op_config: str = OPERATION_WEIGHTS
    feature_op_config: str = FEATURE_WEIGHTS
    score_threshold_up: float = 0.6
    score_threshold_low: float = 0.3
    margin: float = 0.8
    similarity_sample_ratio: float = 1.0
    task_summary_file: str | None = None
    output_dataset_type: str = "manifest"
    score_rule: str = "share"
    margin_rule: str = "uncertainty"
    empty_policy: str = "hard"
    empty_below: float = 0.0
    intercept: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, constant in _CONSTANTS.items():
            if getattr(self, name) != constant:
                raise ParameterError(name, f"cannot be changed: it is {constant!r}, not {getattr(self, name)!r}")
        for name in _FRACTIONS:
            _check_fraction(name, getattr(self, name))
        for name in _ADDRESSES:
            _check_address(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ParameterError(name, f"is {getattr(self, name)!r}, not one of {', '.join(choices)}")
        if self.score_threshold_low > self.score_threshold_up:
            raise ParameterError(
                "score_threshold_low", f"is {self.score_threshold_low:g}, above score_threshold_up {self.score_threshold_up:g}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ParameterError("seed", f"is {self.seed!r}, not a whole number from 0 on")
        if self.intercept is not None:
            _number("intercept", self.intercept)
        _ = self.algorithm_weights, self.operation_weights, self.feature_weights

    @property
    def algorithm_weights(self) -> dict[str, float]:
        """Of the algorithms that shall run, in the order they were written."""
        return parse_weights("comprehensive_algo_config", self.comprehensive_algo_config, ALGORITHMS)

    @property
    def operation_weights(self) -> dict[str, float]:
        return parse_weights("aug_op_config", self.aug_op_config, OPERATIONS)

    @property
    def feature_weights(self) -> dict[str, float]:
        return parse_weights("feature_op_config", self.feature_op_config, FEATURES)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Parameters:
        """The parameters among ``settings`` (a config.yaml, where numbers may be text); the others in it are not looked at.

        What is absent has its default. Raises ``ParameterError``.
        """
        return cls(**{field.name: _read(field.name, settings[field.name]) for field in fields(cls) if field.name in settings})

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def parse_weights(parameter: str, text: str, known: Iterable[str]) -> dict[str, float]:
    """``a:0.5+b:1`` as a mapping in the order written. The spelling ``bbbox_`` of some of ModelArts' pages means ``bbox_``.

    Raises ``ParameterError`` for an unknown or repeated key, a negative weight or what is no number.
    """
    keys = tuple(known)
    weights: dict[str, float] = {}
    for item in _text(parameter, text).split("+"):
        key, colon, number = item.partition(":")
        if not colon:
            raise ParameterError(parameter, f"{item!r} is not of the form key:weight, joined by +, such as {keys[0]}:0.5")
        key = key.replace("bbbox_", "bbox_", 1) if key.startswith("bbbox_") else key
        if key not in keys:
            raise ParameterError(parameter, f"there is no {key!r}; known: {', '.join(keys)}")
        if key in weights:
            raise ParameterError(parameter, f"{key!r} stands in it twice")
        weights[key] = _weight(parameter, key, number)
    return weights


def format_weights(weights: Mapping[str, float]) -> str:
    """The string that ``parse_weights`` reads back."""
    return "+".join(f"{key}:{weight:.4f}" for key, weight in weights.items())


def _weight(parameter: str, key: str, text: str) -> float:
    # float() would also take "1_000", " 1" and "infinity".
    if not text or set(text) - set("0123456789.eE+-"):
        raise ParameterError(parameter, f"the weight {text!r} of {key!r} is not a number")
    try:
        weight = float(text)
    except ValueError as error:
        raise ParameterError(parameter, f"the weight {text!r} of {key!r} is not a number") from error
    if not 0 <= weight < math.inf:
        raise ParameterError(parameter, f"the weight {text} of {key!r} is not a number from 0 on")
    return weight


def _read(name: str, value: Any) -> Any:
    """A value of a configuration file: numbers may be text, and nothing may be written as an empty string or as None."""
    if isinstance(value, str):
        value = value.strip()
    if name in _ADDRESSES or name == "intercept":
        if value is None or value in ("", "None", "none", "null"):
            return None
        return _number(name, value) if name == "intercept" else value
    if name in _FRACTIONS:
        return _number(name, value)
    if name == "seed":
        number = _number(name, value)
        return int(number) if number.is_integer() else number
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ParameterError(name, f"is {value!r}, not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ParameterError(name, f"is {value!r}, not a number") from error
    if not math.isfinite(number):
        raise ParameterError(name, f"is {value!r}, not a number")
    return number


def _check_fraction(name: str, value: Any) -> None:
    if not 0 <= _number(name, value) <= 1:
        raise ParameterError(name, f"is {value!r}, not between 0 and 1")


def _check_address(name: str, value: Any) -> None:
    if value is None:
        return
    if not _text(name, value).startswith(("obs://", "s3://", "/")):
        raise ParameterError(name, f"is {value!r}, not an address such as obs://bucket/folder/ nor an absolute path")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ParameterError(name, f"is {value!r}, not a text")
    return value


#: As the documents have them.
DEFAULTS = Parameters()

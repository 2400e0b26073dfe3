"""The content of ``ymir-info.yaml``, package version 2.0.0: in a model package and in ``/in/models`` (contract reference 7.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.dataset import ModelInput
from contracts.image import ObjectType

PACKAGE_VERSION = "2.0.0"
FLOAT_METRICS = ("mAP", "mAR", "mIoU", "mAcc", "maskAP", "boxAP")
COUNT_METRICS = ("tp", "fp", "fn")
#: How images call the share of pictures whose surest label is right, the better known first.
ACCURACY_METRICS = ("top1", "accuracy", "top1_acc", "accuracy/top1", "acc")

_PRODUCER = "sluice"
_TRAINED = 1  # task_context.type: 1 training, 13 import


def model_info(
    stages: Mapping[str, Mapping[str, Any]],
    best_stage_name: str,
    *,
    executor_config: Mapping[str, Any],
    task_context: Mapping[str, Any],
    object_type: ObjectType,
    class_names: Iterable[str],
    attachments: Mapping[str, Iterable[str]] | None = None,
    evaluate_config: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All keys of the file. ``stages`` are as ``stage_info`` makes them."""
    number = int(object_type) or int(ObjectType.DETECTION)
    context = {"producer": _PRODUCER, "type": _TRAINED} | dict(task_context) | {"object_type": number}
    return {
        "attachments": {section: list(names) for section, names in (attachments or {}).items()},
        "best_stage_name": best_stage_name,
        "evaluate_config": dict(evaluate_config or {}),
        "executor_config": {**executor_config, "class_names": list(class_names)},
        "model_hash": "",
        "object_type": number,
        "package_version": PACKAGE_VERSION,
        "stage_name": "",
        "stages": {name: dict(stage) for name, stage in stages.items()},
        "task_context": {"mAP": quality_of(stages.get(best_stage_name, {}))} | context,
    }


def stage_info(name: str, files: Iterable[str], metrics: Mapping[str, float], timestamp: int) -> dict[str, Any]:
    """One stage, with the metrics that YMIR knows; of a classification, for which it knows none, the accuracy."""
    floats = {metric: float(metrics[metric]) for metric in FLOAT_METRICS if metric in metrics}
    counts = {metric: int(metrics[metric]) for metric in COUNT_METRICS if metric in metrics}
    labels = {"top1": top1} if (top1 := accuracy_of(metrics)) is not None and "mAP" not in floats else {}
    return {"stage_name": name, "files": sorted(files), "timestamp": int(timestamp), **floats, **labels, **counts}


def accuracy_of(metrics: Mapping[str, Any]) -> float | None:
    """The accuracy of a classification in [0, 1], under whichever name its image gives it, also in percent; None when there is none."""
    given = next((float(metrics[name]) for name in ACCURACY_METRICS if name in metrics), None)
    return given if given is None or given <= 1 else min(given / 100, 1.0)


def quality_of(metrics: Mapping[str, Any]) -> float:
    """The one number that models are compared by: mAP, or the accuracy of a classification, which has no mAP; 0 for neither."""
    return float(metrics["mAP"] if "mAP" in metrics else accuracy_of(metrics) or 0.0)


def model_input_info(model: ModelInput) -> dict[str, Any]:
    """The file for a model that is given to an image: what is known of the whole model, and for certain the chosen stage."""
    known = {name: value for name, value in model.info.items() if isinstance(value, (Mapping, str))}
    stages = {str(name): stage for name, stage in _mapping(known, "stages").items() if isinstance(stage, Mapping)}
    chosen = dict(stages.get(model.stage_name, {}))
    timestamp = chosen.get("timestamp") or max((int(path.stat().st_mtime) for path in model.files.values()), default=0)
    stages[model.stage_name] = chosen | {"stage_name": model.stage_name, "files": sorted(model.files), "timestamp": timestamp}
    best = known.get("best_stage_name")
    return model_info(
        stages,
        best if isinstance(best, str) and best in stages else model.stage_name,
        executor_config=_mapping(known, "executor_config"),
        task_context=_mapping(known, "task_context"),
        object_type=model.object_type,
        class_names=model.class_names,
        attachments=_mapping(known, "attachments"),
        evaluate_config=_mapping(known, "evaluate_config"),
    )


def _mapping(known: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = known.get(name)
    return value if isinstance(value, Mapping) else {}

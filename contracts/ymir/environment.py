"""The two files that every image reads first: ``/in/env.yaml`` and ``/in/config.yaml`` (contract reference 4.4 and 4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.dataset import JobInputs
from contracts.image import Kind, Parameter, ParameterType
from contracts.ymir import layout
from contracts.ymir.layout import ContainerView

PROTOCOL_VERSION = "1.1.0"
MANIFEST_FILE = "/img-man/manifest.yaml"

_ALWAYS = frozenset({"class_names", "gpu_count", "gpu_id", "object_type", "task_id"})
_TRAINING = frozenset({"pretrained_model_params"})
_WITH_MODEL = frozenset({"model_params_path", "run_infer", "run_mining"})

#: May be given although a template lacks them: they are requests to the platform.
PLATFORM_PARAMETERS = (
    Parameter("export_format", ParameterType.STR, "", "annotations the image wants: ark:raw, voc:raw, coco:raw, cls:raw or none:raw"),
    Parameter("shm_size", ParameterType.STR, "", "shared memory of the container, such as 16G"),
)
#: May be given to an image that clones its code when it starts (manifest.yaml: enable_livecode).
LIVE_CODE_PARAMETERS = (
    Parameter("git_url", ParameterType.STR, "", "repository that the image clones when it starts"),
    Parameter("git_branch", ParameterType.STR, "", "branch, tag or commit of git_url"),
    Parameter("code_config", ParameterType.STR, "", "YAML file in git_url with defaults below the parameters"),
)


def reserved_parameters(kind: Kind) -> frozenset[str]:
    """What staging sets itself, whatever a template says."""
    return _ALWAYS | (_TRAINING if kind is Kind.TRAINING else _WITH_MODEL)


def config(inputs: JobInputs, model_files: Sequence[str]) -> dict[str, Any]:
    """The content of config.yaml: the job's parameters overlaid by the reserved ones. ``model_files``: names below the stage, in order."""
    reserved = reserved_parameters(inputs.kind)
    return {name: value for name, value in inputs.parameters.items() if name not in reserved} | _reserved(inputs, model_files)


def environment(inputs: JobInputs) -> dict[str, Any]:
    """The content of env.yaml. Index files that the kind does not have are empty strings."""
    view = ContainerView.of(inputs.paths)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "task_id": inputs.task_id,
        "run_training": inputs.kind is Kind.TRAINING,
        "run_mining": Kind.MINING in inputs.kind.parts,
        "run_infer": Kind.INFERENCE in inputs.kind.parts,
        "manifest_file": MANIFEST_FILE,
        "input": _input_paths(inputs, view),
        "output": _output_paths(view),
    }


def _reserved(inputs: JobInputs, model_files: Sequence[str]) -> dict[str, Any]:
    """``gpu_id`` counts from 0 inside the container, whichever cards the host gives (contract reference 3.3)."""
    values: dict[str, Any] = {
        "class_names": list(inputs.class_names),
        "gpu_count": inputs.gpu_count,
        "gpu_id": ",".join(str(i) for i in range(inputs.gpu_count)),
        "object_type": int(inputs.object_type),
        "task_id": inputs.task_id,
    }
    weights = _weights(inputs, model_files)
    if inputs.kind is Kind.TRAINING:
        return values | ({"pretrained_model_params": weights} if weights else {})  # absent, not [], without a model
    return values | {
        "model_params_path": weights,
        "run_infer": Kind.INFERENCE in inputs.kind.parts,
        "run_mining": Kind.MINING in inputs.kind.parts,
    }


def _weights(inputs: JobInputs, model_files: Sequence[str]) -> list[str]:
    view = ContainerView.of(inputs.paths)
    return [view.model_file(inputs.model.stage_name, name) for name in model_files] if inputs.model else []


def _input_paths(inputs: JobInputs, view: ContainerView) -> dict[str, str]:
    """Images that ask for no predictions see no word of them."""
    training = inputs.kind is Kind.TRAINING
    predictions = {"predictions_dir": view.in_(layout.PREDICTIONS), "candidate_names_file": view.in_(layout.CANDIDATE_NAMES)}
    return {
        "root_dir": view.in_(),
        "assets_dir": view.assets,
        "annotations_dir": view.in_("annotations"),
        "models_dir": view.in_("models"),
        "training_index_file": view.in_(layout.TRAIN_INDEX) if inputs.train else "",
        "val_index_file": view.in_(layout.VAL_INDEX) if training else "",
        "candidate_index_file": "" if training else view.in_(layout.CANDIDATE_INDEX),
        "config_file": view.in_(layout.CONFIG),
        **(predictions if inputs.predictions is not None else {}),
    }


def _output_paths(view: ContainerView) -> dict[str, str]:
    return {
        "root_dir": view.out(),
        "models_dir": view.out(layout.MODELS),
        "tensorboard_dir": view.out(layout.TENSORBOARD),
        "training_result_file": view.out(layout.TRAINING_RESULT),
        "mining_result_file": view.out(layout.MINING_RESULT),
        "infer_result_file": view.out(layout.INFERENCE_RESULT),
        "monitor_file": view.out(layout.MONITOR),
        "executor_log_file": view.out(layout.EXECUTOR_LOG),
    }

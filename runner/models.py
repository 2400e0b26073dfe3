"""Stored models: what staging, the doors and a model package say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.dataset import ModelInput
from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.results import StageResult
from contracts.ymir.model_info import stage_info
from contracts.ymir.package import ModelPackage, write_package
from registry import models
from registry.models import ModelRecord, StageRecord
from runner.references import parse_model_reference


def get_stage(session: Session, reference: str) -> tuple[ModelRecord, StageRecord]:
    """The model and the stage a reference means. Raises ``NotFoundError`` naming what there is."""
    name, stage_name = parse_model_reference(reference)
    model = models.get_model(session, name)
    return model, model.get_stage(stage_name)


def model_input(folder: Path, model: ModelRecord, stage_name: str) -> ModelInput:
    """One stage of a stored model as staging wants it."""
    stage = model.get_stage(stage_name)
    return ModelInput(
        name=model.name,
        stage_name=stage.name,
        files={name: folder / stage.name / name for name in stage.files},
        class_names=model.class_names,
        object_type=ObjectType(model.object_type),
        info=model_info(model),
    )


def model_info(model: ModelRecord) -> dict[str, Any]:
    """What ``ymir-info.yaml`` of a staged model says beyond the chosen stage (contract reference 7.2)."""
    stages = {stage.name: stage_info(stage.name, stage.files, stage.metrics, stage.timestamp) for stage in model.stages}
    return {
        "executor_config": dict(model.parameters),
        "task_context": _task_context(model),
        "stages": stages,
        "best_stage_name": model.best_stage,
        "evaluate_config": dict(model.evaluate_config),
    }


def export_model(folder: Path, model: ModelRecord, target: Path) -> dict[str, Any]:
    """Writes the whole model as a YMIR model package. Raises ``RequestError`` when the target cannot be written."""
    if target.is_dir() or not target.parent.is_dir():
        raise RequestError(f"{target} cannot be written", hint="Name a file in a folder that exists, e.g. model.tar.gz.")
    sha1 = write_package(
        ModelPackage(
            name=model.name,
            stages=[_stage_result(folder, stage) for stage in model.stages],
            best_stage_name=model.best_stage,
            class_names=model.class_names,
            object_type=ObjectType(model.object_type),
            executor_config=model.parameters,
            task_context=_task_context(model),
            attachments={
                section: [folder / "attachments" / section / name for name in names] for section, names in model.attachments.items()
            },
            evaluate_config=model.evaluate_config,
        ),
        target,
    )
    return {"model": model.name, "file": str(target), "size_bytes": target.stat().st_size, "sha1": sha1}


def _task_context(model: ModelRecord) -> dict[str, Any]:
    best = model.get_stage(model.best_stage).metrics
    return {"executor": model.image_name, "src_revs": model.train_data or "", "mAP": best.get("mAP", 0.0)}


def _stage_result(folder: Path, stage: StageRecord) -> StageResult:
    return StageResult(stage.name, {name: folder / stage.name / name for name in stage.files}, stage.metrics, stage.timestamp)

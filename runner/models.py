"""Stored models: what staging, the doors and a model package say of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.dataset import ModelInput
from contracts.image import ObjectType
from registry import models
from registry.models import ModelRecord, StageRecord


def parse_model_reference(text: str) -> tuple[str, str | None]:
    """``name[@stage]`` as (name, stage or None for the best one)."""
    name, _, stage = text.partition("@")
    return name, stage or None


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
    """What ``ymir-info.yaml`` and a model package say of a model (contract reference 7.2)."""
    stages = {
        stage.name: {"stage_name": stage.name, "files": list(stage.files), "timestamp": stage.timestamp, **stage.metrics} for stage in model.stages
    }
    return {
        "executor_config": {**model.parameters, "class_names": list(model.class_names)},
        "task_context": {"executor": model.image_name, "producer": "sluice", "type": 1, "object_type": model.object_type, "src_revs": model.train_data},
        "stages": stages,
        "best_stage_name": model.best_stage,
        "evaluate_config": dict(model.evaluate_config),
    }



def sha1_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha1").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha1(opened.read()).hexdigest()  # noqa: S324

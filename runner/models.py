"""Stored models: what staging, the doors and a model package say of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.dataset import ModelInput
from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.results import StageResult
from contracts.ymir.documents import dump_yaml
from contracts.ymir.layout import MODEL_INFO
from contracts.ymir.model_info import quality_of, stage_info
from contracts.ymir.package import ModelPackage, package_info, package_members, write_package
from registry import models
from registry.models import ModelRecord, StageRecord
from runner.model_files import refuse_changed
from runner.references import parse_model_reference

_IMPORTED = 13  # YMIR's number for a task that imports a model


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
    """Writes the whole model as a YMIR model package. Raises ``RequestError`` when the target cannot be written or a file is not what was stored."""
    if target.is_dir() or not target.parent.is_dir():
        raise RequestError(f"{target} cannot be written", hint="Name a file in a folder that exists, e.g. model.tar.gz.")
    refuse_changed(folder, model)
    sha1 = write_package(_package(folder, model), target)
    return {"model": model.reference, "file": str(target), "size_bytes": target.stat().st_size, "sha1": sha1}


def export_folder(folder: Path, model: ModelRecord, target: Path) -> dict[str, Any]:
    """Writes what the package would hold as plain files into a new folder, which appears when it is whole. Raises as above."""
    if os.path.lexists(target) or not target.parent.is_dir():
        raise RequestError(f"{target} cannot be made", hint="Name a new folder in one that exists.")
    refuse_changed(folder, model)
    package = _package(folder, model)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for name, path in package_members(package):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, aside / name)
            (aside / name).chmod(0o644)
        (aside / MODEL_INFO).write_text(dump_yaml(package_info(package)), encoding="utf-8")
        aside.chmod(0o755)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return {"model": model.reference, "file": str(target), "size_bytes": model.size_bytes, "sha1": ""}


def _package(folder: Path, model: ModelRecord) -> ModelPackage:
    return ModelPackage(
        name=model.name,
        stages=[_stage_result(folder, stage) for stage in model.stages],
        best_stage_name=model.best_stage,
        class_names=model.class_names,
        object_type=ObjectType(model.object_type),
        executor_config=model.parameters,
        task_context=_task_context(model),
        attachments={section: [folder / "attachments" / section / name for name in names] for section, names in model.attachments.items()},
        evaluate_config=model.evaluate_config,
    )


def _task_context(model: ModelRecord) -> dict[str, Any]:
    """Of an imported model also what its package said, so that it leaves as it came."""
    best = model.get_stage(model.best_stage).metrics
    told = model.origin.get("task_context") or {}
    known = {"executor": model.image_name or told.get("executor", ""), "src_revs": model.train_data or told.get("src_revs", "")}
    how = {"type": _IMPORTED} if model.origin.get("how") == "import" else {}
    return {**how, **told, **known, "mAP": quality_of(best)}


def _stage_result(folder: Path, stage: StageRecord) -> StageResult:
    return StageResult(stage.name, {name: folder / stage.name / name for name in stage.files}, stage.metrics, stage.timestamp)

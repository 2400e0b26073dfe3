"""Reads what a job left and stores it: stages become a model, predictions a Parquet file, a ranking the job's own file.

Reading (``collect``) changes nothing. ``prepare`` writes files aside under names that only this job uses, and waits for the disk; ``store`` makes
them visible together with the job's end, in the transaction of the caller, in which nothing large is written.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from contracts.image import Kind, ObjectType
from contracts.job import JobWarning
from contracts.results import InferenceResult, MiningResult, StageResult, TrainingResult
from contracts.seams import Dialect
from contracts.ymir.layout import CONTRACT_FILES
from contracts.ymir.tolerances import printable
from registry import models, predictions
from registry.jobs import JobRecord
from registry.models import StageRecord
from registry.versions import versioned
from runner.dataset_files import write_predictions
from runner.installation import Installation
from runner.labels import surest_label
from runner.mined import explained, write_mined
from runner.model_files import checksums_of, model_folder, show_folder
from runner.run_dir import sync_to_disk
from runner.stored_samples import StoredSamples

_TOP_SHOWN = 10
_FILES_SHOWN, _MOST_ENTRIES, _LONGEST_NAME = 20, 1000, 100
_RANKING = pa.schema([("rank", pa.int64()), ("asset", pa.string()), ("name", pa.string()), ("score", pa.float64())])


@dataclass(frozen=True)
class Collected:
    """What a job left, as far as its kind asks for it."""

    training: TrainingResult | None = None
    mining: MiningResult | None = None
    inference: InferenceResult | None = None

    @property
    def warnings(self) -> tuple[JobWarning, ...]:
        return tuple(w for part in (self.training, self.mining, self.inference) if part for w in part.warnings)


@dataclass(frozen=True)
class Prepared:
    """What was learnt while the files were written: the sha256 of a model's files, by stage and name."""

    checksums: Mapping[str, dict[str, str]]


def collect(dialect: Dialect, kind: Kind, out_dir: Path, candidates: StoredSamples | None, plan: Mapping[str, Any]) -> Collected:
    """Every result the kind must leave. Raises ``ResultMissingError``, ``ResultMalformedError``."""
    if candidates is None:
        return Collected(training=dialect.collect_training(out_dir))
    assets = candidates.assets
    mining = dialect.collect_mining(out_dir, assets) if Kind.MINING in kind.parts else None
    object_type, class_names = ObjectType(plan["object_type"]), plan["class_names"]
    inference = dialect.collect_inference(out_dir, assets, object_type, class_names) if Kind.INFERENCE in kind.parts else None
    return Collected(mining=mining, inference=inference)


def prepare(installation: Installation, job: JobRecord, collected: Collected, samples: StoredSamples | None) -> Prepared:
    """Writes the files of the results aside, durably. May be repeated; what a kill leaves is written anew or freed by ``sluice gc``."""
    checksums: Mapping[str, dict[str, str]] = {}
    if collected.training:
        checksums = _place_files(collected.training, _model_aside(installation, job))
    if collected.mining:
        aside = _aside(_ranking_file(installation, job))
        pq.write_table(_ranking_table(job, collected.mining, samples), aside)
        sync_to_disk(aside)
        if collected.mining.pictures:
            write_mined(_aside(_reasons_file(installation, job)), collected.mining.pictures)
            sync_to_disk(_aside(_reasons_file(installation, job)))
    if collected.inference:
        write_predictions(_aside(_predictions_file(installation, job)), collected.inference.predictions)
    return Prepared(checksums)


def store(
    session: Session,
    installation: Installation,
    job: JobRecord,
    collected: Collected,
    samples: StoredSamples | None,
    prepared: Prepared,
) -> dict[str, Any] | None:
    """Makes visible what was prepared; returns the job's ``result`` as the doors show it, None when there is nothing."""
    if collected.training:
        return _store_model(session, installation, job, collected.training, prepared)
    mining = _store_ranking(installation, job, collected.mining, samples) if collected.mining else None
    inference = _store_predictions(session, installation, job, collected.inference, len(samples or ())) if collected.inference else None
    if mining and inference:
        return {"mining": mining, "inference": inference}
    return mining or inference


# ----------------------------------------------------------------------------------------------------------------- model


def _store_model(
    session: Session, installation: Installation, job: JobRecord, result: TrainingResult, prepared: Prepared
) -> dict[str, Any]:
    name, version = _free_version(session, job)
    reference = versioned(name, version)
    if models.find_model(session, reference):
        return _model_result(reference, result)
    folder = installation.home / model_folder(session, name, version, job.id)
    show_folder(_model_aside(installation, job), folder)
    plan = job.plan
    models.add_model(
        session,
        name=name,
        version=version,
        job_id=job.id,
        image_name=job.image_name,
        image_digest=job.image_digest,
        object_type=plan["object_type"],
        class_names=tuple(plan["class_names"]),
        best_stage=result.best_stage_name,
        parameters=plan["parameters"],
        folder=str(folder.relative_to(installation.home)),
        evaluate_config=dict(result.evaluate_config),
        attachments={section: [file.name for file in files] for section, files in result.attachments.items()},
        train_data=plan["train"],
        val_data=plan["val"] or "",
        stages=tuple(_stage_record(stage, prepared.checksums.get(stage.name)) for stage in result.stages),
        origin=_origin(job),
    )
    return _model_result(reference, result)


def _origin(job: JobRecord) -> dict[str, Any]:
    plan = job.plan
    started_from = f"{plan['model']}@{plan['stage']}" if plan["model"] else None
    return {"how": "training", "started_from": started_from, "data_hashes": plan.get("data_hashes") or {}, "seed": job.spec.get("seed", 0)}


def _free_version(session: Session, job: JobRecord) -> tuple[str, int]:
    """The job's own name and version, unless another model took them meanwhile: a finished training is never lost to a name."""
    name, version = str(job.plan["output_name"]), job.version or 1
    stored = models.find_model(session, versioned(name, version))
    if stored is None or stored.job_id == job.id:
        return name, version
    return f"{name}-{job.id}", 1


def _model_aside(installation: Installation, job: JobRecord) -> Path:
    return installation.home / "models" / f".{job.id}.new"


def _place_files(result: TrainingResult, aside: Path) -> dict[str, dict[str, str]]:
    """The sha256 of each stage's files."""
    shutil.rmtree(aside, ignore_errors=True)
    for stage in result.stages:
        for name, file in stage.files.items():
            _place(file, aside / stage.name / name)
    for section, files in result.attachments.items():
        for file in files:
            _place(file, aside / "attachments" / section / file.name)
    sync_to_disk(aside)
    return {stage.name: checksums_of(aside / stage.name, stage.files) for stage in result.stages}


def _place(file: Path, target: Path) -> None:
    # A hard link: the container has ended, so nobody writes to the file any more, and a large model costs no time and no space.
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(file, target, follow_symlinks=False)
    target.chmod(0o444)
    sync_to_disk(target, target.parent)


def _stage_record(stage: StageResult, checksums: dict[str, str] | None) -> StageRecord:
    return StageRecord(
        name=stage.name,
        metrics=dict(stage.metrics),
        timestamp=stage.timestamp,
        files=tuple(stage.files),
        size_bytes=sum(file.stat().st_size for file in stage.files.values()),
        checksums=checksums,
    )


def _model_result(reference: str, result: TrainingResult) -> dict[str, Any]:
    stages = [{"name": stage.name, "metrics": dict(stage.metrics), "timestamp": stage.timestamp} for stage in result.stages]
    best = next((stage for stage in stages if stage["name"] == result.best_stage_name), stages[0])
    return {"model": reference, "best_stage": best["name"], "metrics": best["metrics"], "stages": stages}


# ------------------------------------------------------------------------------------------------- ranking and predictions


def _ranking_file(installation: Installation, job: JobRecord) -> Path:
    return installation.home / "predictions" / f"{job.id}.ranking.parquet"


def _ranking_table(job: JobRecord, result: MiningResult, samples: StoredSamples | None, most: int | None = None) -> pa.Table:
    kept = result.ranking[: job.spec.get("top_k") or None][:most]
    assets = [asset for asset, _ in kept]
    names = samples.names_of(assets) if samples is not None else [""] * len(kept)
    return pa.table([range(1, len(kept) + 1), assets, names, [score for _, score in kept]], schema=_RANKING)


def _store_ranking(installation: Installation, job: JobRecord, result: MiningResult, samples: StoredSamples | None) -> dict[str, Any]:
    file = _ranking_file(installation, job)
    _show_file(file)
    top = [explained(row, result.pictures.get(row["asset"])) for row in _ranking_table(job, result, samples, _TOP_SHOWN).to_pylist()]
    shown = {"ranked": len(result.ranking), "top_k": job.spec.get("top_k"), "top": top, "ranking_file": str(file)}
    if files := _left_beside(installation.run_dir(job.id).out_dir):
        shown |= {"files": files}
    return {**shown, **_store_reasons(installation, job, result)} if result.pictures else shown


def _left_beside(out_dir: Path) -> list[str]:
    """What a mining image left in ``out`` beside what the contract speaks of, for whoever looks there: the first names, folders with a ``/``."""
    found = []
    with suppress(OSError), os.scandir(out_dir) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name not in CONTRACT_FILES and not entry.name.startswith(".") and (is_folder or entry.is_file(follow_symlinks=False)):
                found.append(printable(entry.name)[:_LONGEST_NAME] + ("/" if is_folder else ""))
                if len(found) == _MOST_ENTRIES:
                    break
    return sorted(found)[:_FILES_SHOWN]


def _reasons_file(installation: Installation, job: JobRecord) -> Path:
    return installation.home / "predictions" / f"{job.id}.reasons.parquet"


def _store_reasons(installation: Installation, job: JobRecord, result: MiningResult) -> dict[str, Any]:
    """How many pictures are hard, and for which reasons: of all that were ranked, not only of those that are kept."""
    file = _reasons_file(installation, job)
    _show_file(file)
    reasons = Counter(reason for picture in result.pictures.values() for reason in picture.reasons)
    hard = sum(picture.hard is True for picture in result.pictures.values())
    counted = {str(reason): reasons[reason] for reason in sorted(reasons)}
    return {"explained": len(result.pictures), "hard": hard, "reasons": counted, "reasons_file": str(file)}


def _predictions_file(installation: Installation, job: JobRecord) -> Path:
    return installation.home / "predictions" / f"{job.id}.parquet"


def _store_predictions(
    session: Session, installation: Installation, job: JobRecord, result: InferenceResult, image_count: int
) -> dict[str, Any]:
    file = _predictions_file(installation, job)
    _show_file(file)
    classes = Counter(box.class_name for boxes in result.predictions.values() for box in boxes if box.shape != "image")
    surest = Counter(label.class_name for found in result.predictions.values() if (label := surest_label(found)))
    if predictions.find_prediction(session, job.id) is None:
        reference, _, split = job.plan["data"].partition(":")
        dataset, _, version = reference.partition("@V")
        predictions.add_prediction(
            session,
            job_id=job.id,
            model_name=job.plan["model"],
            stage_name=job.plan["stage"],
            dataset=dataset,
            number=int(version),
            split=split,
            file=str(file.relative_to(installation.home)),
            image_count=image_count,
            annotation_count=sum(map(len, result.predictions.values())),
        )
    labelled = {"images_with_labels": sum(surest.values()), "labels": dict(sorted(surest.items()))} if surest else {}
    return {
        "images": image_count,
        **labelled,
        "images_with_boxes": sum(any(box.shape != "image" for box in boxes) for boxes in result.predictions.values()),
        "boxes": sum(classes.values()),
        "classes": dict(sorted(classes.items())),
        "predictions_file": str(file),
    }


def _aside(file: Path) -> Path:
    return file.with_name(f".{file.name}.new")


def _show_file(file: Path) -> None:
    _aside(file).replace(file)
    sync_to_disk(file.parent)

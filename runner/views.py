"""Records as the doors show them: plain dicts, the same from CLI ``--json``, RPC and REST. Times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from registry.images import ImageRecord
from registry.jobs import AttemptRecord, JobRecord
from registry.links import LinkRecord
from registry.models import ModelRecord
from registry.presets import PresetRecord
from registry.versions import version_text


def time_view(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def job_view(
    job: JobRecord,
    *,
    attended: bool,
    attempts: Sequence[AttemptRecord] = (),
    queue: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """``attended``: whether some process drives the job now; a running job that none drives waits for ``sluice job wait``.

    ``attempts``: those that were followed by another. ``queue``: the place and the reason of a job that waits.
    ``usage``: what an ended job used, None where nothing was sampled.
    """
    return {
        "id": job.id,
        "name": job.name,
        "version": version_text(job.version) if job.version else None,
        "kind": str(job.kind),
        "state": str(job.state),
        "step": str(job.step),
        "end_reason": str(job.end_reason) if job.end_reason else None,
        "next_step": job.end_reason.next_step if job.end_reason else "",
        "user": job.user,
        "project": job.project,
        "priority": job.priority,
        "queue": queue,
        "attempt": job.attempt,
        "attempts": [attempt_view(attempt) for attempt in attempts],
        "image": {"name": job.image_name, "reference": job.image_reference, "digest": job.image_digest},
        "engine": job.engine,
        "model": f"{job.plan['model']}@{job.plan['stage']}" if job.plan["model"] else None,
        "data": _data_view(job),
        "gpus": list(job.gpu_uuids),
        "created_at": time_view(job.created_at),
        "not_before": time_view(job.not_before),
        "admitted_at": time_view(job.admitted_at),
        "started_at": time_view(job.started_at),
        "ended_at": time_view(job.ended_at),
        "duration_s": _duration_s(job),
        "progress": job.progress,
        "exit_code": job.exit_code,
        "evidence": job.evidence,
        "warnings": job.warnings,
        "result": job.result,
        "usage": usage,
        "run_dir": job.run_dir,
        "rerun_of": job.rerun_of,
        "cancel_requested": job.cancel_requested_at is not None,
        "attended": attended,
        "spec": job.spec,
    }


def attempt_view(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "end_reason": str(attempt.end_reason),
        "exit_code": attempt.exit_code,
        "evidence": attempt.evidence,
        "gpus": list(attempt.gpu_uuids),
        "started_at": time_view(attempt.started_at),
        "ended_at": time_view(attempt.ended_at),
    }


def queue_view(place: tuple[int, str] | None) -> dict[str, Any] | None:
    return {"position": place[0], "reason": place[1]} if place else None


def _data_view(job: JobRecord) -> dict[str, str]:
    return {name: job.plan[name] for name in ("train", "val", "data", "predictions") if job.plan.get(name)}


def _duration_s(job: JobRecord) -> float | None:
    if not (job.started_at and job.ended_at):
        return None
    return round((job.ended_at - job.started_at).total_seconds(), 3)


def image_view(image: ImageRecord, links: Sequence[LinkRecord], state: str, current_digest: str | None) -> dict[str, Any]:
    """``state``: ready, moved (the reference points elsewhere now), missing (the engine lost it) or unknown (the engine is away)."""
    metadata = image.metadata
    return {
        "name": image.name,
        "reference": image.reference,
        "engine": image.engine,
        "dialect": image.dialect,
        "digest": image.digest,
        "current_digest": current_digest,
        "state": state,
        "size_bytes": image.size_bytes,
        "kinds": [str(kind) for kind in metadata.kinds],
        "object_types": [{"id": int(t), "label": t.label} for t in metadata.object_types],
        "templates": [
            {
                "kind": str(template.kind),
                "object_type": int(template.object_type),
                "parameters": [{**asdict(parameter), "type": str(parameter.type)} for parameter in template.parameters],
            }
            for template in metadata.templates
        ],
        "profile": str(image.profile),
        "allow": list(image.allow),
        "labels": dict(image.labels),
        "registered_at": time_view(image.registered_at),
        "updated_at": time_view(image.updated_at),
        "links": [link_view(link) for link in links],
        "warnings": list(metadata.warnings),
    }


def link_view(link: LinkRecord) -> dict[str, str]:
    return {"training_image": link.training_image, "image": link.image, "kind": str(link.kind)}


#: A metric means what its maker says: Sluice measured none of these itself.
_METRICS = {"training": "as the image reported them", "import": "as the imported model, or who imported it, gave them"}


def model_view(model: ModelRecord, folder: Path) -> dict[str, Any]:
    """``default_stage`` is the one that the model means without ``@stage``: the recommended one, else the image's own best."""
    return {
        "name": model.name,
        "version": version_text(model.version),
        "reference": model.reference,
        "description": model.description,
        "job": model.job_id,
        "image": {"name": model.image_name, "digest": model.image_digest},
        "object_type": model.object_type,
        "class_names": list(model.class_names),
        "best_stage": model.best_stage,
        "recommended_stage": model.recommended,
        "default_stage": model.default_stage,
        "metrics_definition": _METRICS.get(model.origin.get("how", "training"), ""),
        "stages": [{**asdict(stage), "files": list(stage.files), "checksums": stage.checksums or {}} for stage in model.stages],
        "parameters": dict(model.parameters),
        "evaluate_config": dict(model.evaluate_config),
        "attachments": dict(model.attachments),
        "train_data": model.train_data,
        "val_data": model.val_data,
        "origin": dict(model.origin),
        "size_bytes": model.size_bytes,
        "folder": str(folder),
        "created_at": time_view(model.created_at),
    }


def preset_view(preset: PresetRecord) -> dict[str, Any]:
    return {
        "name": preset.name,
        "request": dict(preset.request),
        "from_job": preset.from_job,
        "user": preset.user,
        "created_at": time_view(preset.created_at),
        "updated_at": time_view(preset.updated_at),
    }

"""The runs of a job side by side: what each was given, what it left, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.jobs import JobRecord
from registry.versions import version_text
from runner.views import time_view

#: The sections of a comparison, in order.
SECTIONS = ("inputs", "parameters", "metrics", "outcome")
#: Different for any two jobs: a mark there would say nothing.
_NEVER_EQUAL = ("seconds", "left")


def version_rows(jobs: Sequence[JobRecord]) -> list[dict[str, Any]]:
    """One row for each run, oldest first, with what was changed against the run before it."""
    rows = []
    for number, job in enumerate(jobs):
        before = jobs[number - 1] if number else None
        rows.append({**_head(job), "result": _left(job), "metrics": _metrics(job), "changes": changes(before, job) if before else []})
    return rows


def changes(before: JobRecord, after: JobRecord) -> list[dict[str, Any]]:
    """``{"section", "name", "before", "after"}`` of every input and parameter that differs; None where one has none."""
    compared = compare([before, after])["rows"]
    return [
        {"section": row["section"], "name": row["name"], "before": row["values"][0], "after": row["values"][1]}
        for row in compared
        if row["differs"] and row["section"] in ("inputs", "parameters")
    ]


def compare(jobs: Sequence[JobRecord]) -> dict[str, Any]:
    """``{"jobs": [...], "rows": [{section, name, values, differs}]}``: a value for each job in their order, None where it has none.

    Metrics are those of the best stage, as the image reported them.
    """
    facts = [_facts(job) for job in jobs]
    rows = []
    for section in SECTIONS:
        for name in dict.fromkeys(name for fact in facts for name in fact[section]):
            values = [fact[section].get(name) for fact in facts]
            differs = name not in _NEVER_EQUAL and any(_differ(values[0], value) for value in values[1:])
            rows.append({"section": section, "name": name, "values": values, "differs": differs})
    return {"jobs": [_head(job) for job in jobs], "rows": rows}


def _differ(one: Any, other: Any) -> bool:
    """1 and 1.0 are the same parameter, 1 and true are not."""
    return one != other or isinstance(one, bool) != isinstance(other, bool)


def _head(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "version": version_text(job.version) if job.version else None,
        "kind": str(job.kind),
        "state": str(job.state),
        "end_reason": str(job.end_reason) if job.end_reason else None,
        "user": job.user,
        "rerun_of": job.rerun_of,
        "created_at": time_view(job.created_at),
    }


def _facts(job: JobRecord) -> dict[str, dict[str, Any]]:
    return {"inputs": _inputs(job), "parameters": dict(job.plan["parameters"]), "metrics": _metrics(job), "outcome": _outcome(job)}


def _inputs(job: JobRecord) -> dict[str, Any]:
    plan, spec = job.plan, job.spec
    asked = {
        "kind": str(job.kind),
        "image": job.image_name,
        "image digest": job.image_digest,
        "train data": plan.get("train"),
        "val data": plan.get("val"),
        "data": plan.get("data"),
        "predictions": plan.get("predictions"),
        "model": f"{plan['model']}@{plan['stage']}" if plan.get("model") else None,
        "classes": ", ".join(plan.get("class_names") or ()) or None,
        "seed": spec.get("seed"),
        "top": spec.get("top_k"),
        "gpus": spec.get("gpu_count"),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _metrics(job: JobRecord) -> dict[str, Any]:
    result = job.result or {}
    return dict(result.get("metrics") or {})


def _outcome(job: JobRecord) -> dict[str, Any]:
    took = (job.ended_at - job.started_at).total_seconds() if job.started_at and job.ended_at else None
    known = {"state": str(job.state), "end reason": str(job.end_reason) if job.end_reason else None, **_counts(job.result or {})}
    known |= {"left": _left(job), "seconds": round(took, 3) if took is not None else None}
    return {name: value for name, value in known.items() if value is not None}


def _counts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of mining and inference, also of both at once."""
    parts = {**result.get("mining", {}), **result.get("inference", {}), **result}
    return {name: parts.get(name) for name in ("ranked", "images", "images_with_boxes", "boxes")}


def _left(job: JobRecord) -> str | None:
    """What it left that has a name: a model and its best stage."""
    result = job.result or {}
    return f"{result['model']}@{result['best_stage']}" if "model" in result else None

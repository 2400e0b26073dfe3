"""What listeners are told about a job: small, without secrets, and the same for every listener. docs/notes/listeners.md lists the fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from registry.tables import now
from runner.views import time_view

#: What can happen to a job; ``retried``: the attempt ended and another one follows.
EVENTS = ("started", "succeeded", "failed", "cancelled", "retried")
_COPIED = (
    "id", "name", "kind", "state", "attempt", "user", "project", "engine", "model", "created_at", "started_at", "ended_at", "duration_s",
    "end_reason", "exit_code", "next_step", "rerun_of",
)  # fmt: skip
_EVIDENCE = ("message", "image_message", "hint", "out_of_memory")
_LONGEST_TEXT = 500
_MOST_ENTRIES = 50
_DEEPEST = 3


def message_of(job: Mapping[str, Any], event: str) -> dict[str, Any]:
    """The message about ``event`` (one of ``EVENTS``); ``job`` is a job as ``job_view`` shows it.

    SECURITY: only what is named here leaves the host. Parameters, the log, tracebacks and paths of files do not.
    """
    return {
        "id": f"{job['id']}.{job['attempt']}.{event}",
        "event": event,
        "time": time_view(now()),
        "text": _text(job, event),
        "job": _job(job),
    }


def _job(job: Mapping[str, Any]) -> dict[str, Any]:
    evidence = job.get("evidence") or {}
    told = {name: job.get(name) for name in _COPIED} | {name: evidence.get(name) for name in _EVIDENCE}
    told |= {"image": (job.get("image") or {}).get("name"), "gpu_count": len(job.get("gpus") or ())}
    return {**{name: _small(value) for name, value in told.items()}, "result": _small(job.get("result"))}


def _text(job: Mapping[str, Any], event: str) -> str:
    """One line for people."""
    name = f"{job['name']} ({job['id']})" if job.get("name") else job["id"]
    reason = job.get("end_reason")
    why = f": {reason}" if reason and reason not in (event, "succeeded") else ""
    said = (job.get("evidence") or {}).get("message") if why else ""
    return str(_small(" ".join(f"{job.get('kind')} {name} {event}{why}{f', {said}' if said else ''}".split())))


def _small(value: Any, depth: int = 0) -> Any:
    """JSON that any receiver reads: texts cut and valid Unicode, no NaN, a few entries of each mapping; lists and what lies deeper left out."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")[:_LONGEST_TEXT]
    if isinstance(value, Mapping) and depth < _DEEPEST:
        kept = [(str(key), item) for key, item in value.items() if isinstance(item, (bool, int, float, str, Mapping))]
        return {str(_small(key)): _small(item, depth + 1) for key, item in kept[:_MOST_ENTRIES] if not key.endswith(("_file", "files"))}
    return None

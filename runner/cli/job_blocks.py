"""Jobs in words: one job, a list of jobs, what a job left, why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.cli.blocks import Block, Facts, Line, Table, numbers
from runner.cli.units import count_text, duration_text, metric_text, ordinal_text, size_text, time_text

Job = Mapping[str, Any]

#: What each step of a job means to the person who waits.
STEP_WORDS = {
    "queued": "queued",
    "stage": "staging the data",
    "pull": "pulling the image",
    "create": "creating the container",
    "start": "starting",
    "follow": "running",
    "collect": "collecting results",
    "finish": "finishing",
}
_SHOWN_WARNINGS = 10
_SHOWN_STAGES = 10


def list_blocks(page: Mapping[str, Any]) -> list[Block]:
    """A page of jobs, as ``Runner.list_jobs`` gives it."""
    jobs = page["jobs"]
    if not jobs:
        return [Line("No jobs." if not page["total"] else f"No jobs on this page; there are {page['total']}.")]
    whose = _whose_columns(jobs)
    columns = ("job", "name", *whose, "kind", "image", "state", "progress", "created", "took")
    rows = [
        (
            job["id"],
            name_text(job),
            *(job[column] for column in whose),
            job["kind"],
            job["image"]["name"],
            state_text(job),
            place_text(job) or progress_text(job),
            time_text(job["created_at"]),
            duration_text(job["duration_s"]),
        )
        for job in jobs
    ]
    blocks: list[Block] = [Table(columns, rows, numbers("took"))]
    return [*blocks, Line(f"{len(jobs)} of {page['total']} jobs", "dim")] if len(jobs) < page["total"] else blocks


def _whose_columns(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Who submitted and for which project, where that tells the jobs apart."""
    return tuple(column for column in ("user", "project") if len({job.get(column) for job in jobs}) > 1)


def name_text(job: Job) -> str:
    """``first@V0002``; '' for a job without a name."""
    return f"{job['name']}@{job['version']}" if job.get("version") else job["name"] or ""


def state_text(job: Job) -> str:
    """``failed: timeout``; the state alone where the reason would say it again."""
    reason = job["end_reason"]
    return job["state"] if reason in (None, job["state"]) else f"{job['state']}: {reason}"


def progress_text(job: Job) -> str:
    """``30 %`` while it runs, '' otherwise."""
    progress = job["progress"]
    return f"{progress['fraction']:.0%}".replace("%", " %") if progress and job["state"] == "running" else ""


def place_text(job: Job) -> str:
    """``3rd: needs 4 GPUs, free 2`` for a job that waits, '' for others."""
    queue = job.get("queue")
    if queue:
        return f"{ordinal_text(queue['position'])}: {queue['reason']}"
    abandoned = job["state"] == "queued" and not job["attended"]
    return f"nobody drives it: sluice job wait {job['id']}, or start sluice serve" if abandoned else ""


def waiting_text(job: Job) -> str:
    """``waiting, 3rd: needs 4 GPUs, free 2`` for a job in the queue, '' for others."""
    return f"waiting, {place_text(job)}" if job["state"] == "queued" and job.get("queue") else ""


def step_text(job: Job) -> str:
    """What it does now, in a person's words."""
    return STEP_WORDS.get(job["step"], str(job["step"]))


def show_blocks(job: Job) -> list[Block]:
    """Everything about one job: what was asked for, where it stands, what it left."""
    blocks: list[Block] = [Facts([*_head_facts(job), *_request_facts(job), *_time_facts(job)]), *_attempt_blocks(job)]
    if job["state"] == "failed":
        blocks += [Line(), *_evidence_blocks(job), Facts([("next step", _next_step(job))], indent=2)]
    if job["result"]:
        blocks += [Line(), *_result_blocks(job)]
    return blocks + warning_blocks(job["warnings"] or [])


def result_blocks(job: Job) -> list[Block]:
    """What a person who waited wants to know of a job that succeeded."""
    head = [("job", f"{job['id']}  {name_text(job)}".rstrip()), ("took", duration_text(job["duration_s"]))]
    return _result_blocks(job, head)


def failure_blocks(job: Job) -> list[Block]:
    """Why a job did not succeed: the reason, what shows it, and the next step."""
    ending = "was cancelled" if job["state"] == "cancelled" else f"failed: {job['end_reason']}"
    blocks: list[Block] = [Line(f"Job {job['id']} {ending}", "bold red")]
    return [*blocks, *_evidence_blocks(job), *warning_blocks(job["warnings"] or []), *_what_to_do(job)]


def warning_blocks(warnings: list[Mapping[str, Any]]) -> list[Block]:
    """What was tolerated, the first ten."""
    if not warnings:
        return []
    lines: list[Block] = [
        Line(f"{': '.join(filter(None, (w['place'], w['message'])))}  ({w['code']})", indent=2) for w in warnings[:_SHOWN_WARNINGS]
    ]
    more = len(warnings) - _SHOWN_WARNINGS
    rest: list[Block] = [Line(f"… and {more} more: sluice job show --json", "dim", indent=2)] if more > 0 else []
    return [Line("warnings", "yellow"), *lines, *rest]


def next_commands(job: Job) -> list[str]:
    """What to do with what the job left."""
    result = job["result"] or {}
    if job["kind"] == "training":
        known = (job["data"] or {}).get("val") or (job["data"] or {}).get("train")
        return [f"sluice infer --model {result['model']} --data {known}", f"sluice mine --model {result['model']} --data POOL --top 50"]
    return [f"sluice job sheet {job['id']} sheet.png"]


def _head_facts(job: Job) -> list[tuple[str, Any]]:
    progress = job["progress"] or {}
    return [
        ("job", job["id"]),
        ("name", name_text(job)),
        ("kind", job["kind"]),
        ("state", state_text(job)),
        ("queue", place_text(job)),
        ("step", step_text(job) if job["state"] == "running" else ""),
        ("progress", f"{progress_text(job)}  {progress.get('message') or ''}".strip() if job["state"] == "running" else ""),
        ("cancel", "requested" if job["cancel_requested"] and job["state"] == "running" else ""),
    ]


def _request_facts(job: Job) -> list[tuple[str, Any]]:
    image, spec = job["image"], job["spec"]
    return [
        ("image", f"{image['name']}  {image['reference']}"),
        ("digest", image["digest"]),
        ("engine", job["engine"]),
        *((role if role in ("data", "predictions") else f"{role} data", reference) for role, reference in (job["data"] or {}).items()),
        ("model", job["model"]),
        ("classes", ", ".join(spec.get("class_names") or ())),
        ("parameters", "\n".join(f"{key}={value}" for key, value in (spec.get("parameters") or {}).items())),
        ("asks for", "\n".join(_asked_lines(spec))),
        ("GPUs", "\n".join(job["gpus"] or ())),
        ("user", job.get("user")),
        ("project", "" if job.get("project") == "default" else job.get("project")),
        ("priority", job.get("priority") or ""),
        ("rerun of", job["rerun_of"]),
    ]


def _asked_lines(spec: Mapping[str, Any]) -> list[str]:
    """What was asked for beyond the usual, as the options have it; '' and None for what was left open."""
    wish = spec.get("gpu") or {}
    lines = [
        ("--gpus", spec.get("gpu_count")),
        ("--gpu-model", wish.get("model")),
        ("--gpu-memory", size_text(wish.get("memory_bytes"))),
        ("--gpu-pool", wish.get("pool")),
        ("--mig", wish.get("mig_profile")),
        ("--share-gpu", size_text(wish.get("shared_bytes"))),
        ("--memory", size_text(spec.get("memory_bytes"))),
        ("--cpus", spec.get("cpu_count")),
        ("--timeout", duration_text(spec.get("timeout_s"))),
        ("--silence-timeout", duration_text(spec.get("silence_timeout_s"))),
        ("--retries", "" if spec.get("retries") is None else str(spec["retries"])),
    ]
    return [f"{option} {value}" for option, value in lines if value]


def _time_facts(job: Job) -> list[tuple[str, Any]]:
    return [
        ("created", time_text(job["created_at"])),
        ("started", time_text(job["started_at"])),
        ("ended", time_text(job["ended_at"])),
        ("took", duration_text(job["duration_s"])),
        ("attempt", job["attempt"] if (job["attempt"] or 0) > 1 else ""),
        ("used", "\n".join(_usage_lines(job.get("usage") or {}))),
        ("run directory", job["run_dir"]),
    ]


def _usage_lines(usage: Mapping[str, Any]) -> list[str]:
    """What it used, as far as that was sampled: a line each for processor, memory, GPUs and the disk."""
    limit, busy = usage.get("memory_limit_bytes"), usage.get("mean_gpu_utilization_fraction")
    lines = [
        ("CPU time", duration_text(usage.get("cpu_seconds"))),
        ("memory", _joined(size_text(usage.get("max_memory_bytes")), f"of {size_text(limit)}" if limit else "")),
        ("GPU memory", size_text(usage.get("max_gpu_memory_bytes"))),
        ("GPU busy", "" if busy is None else f"{busy * 100:.0f} % on average"),
        ("/out", size_text(usage.get("out_bytes"))),
    ]
    return [f"{name} {text}" for name, text in lines if text]


def _joined(amount: str, limit: str) -> str:
    return f"at most {amount} {limit}".rstrip() if amount else ""


def _attempt_blocks(job: Job) -> list[Block]:
    """The attempts that were followed by another, and why each ended."""
    if not job.get("attempts"):
        return []
    rows = [
        (attempt["attempt"], attempt["end_reason"], time_text(attempt["ended_at"]), (attempt["evidence"] or {}).get("message"))
        for attempt in job["attempts"]
    ]
    return [Line(), Line("earlier attempts"), Table(("attempt", "ended as", "at", "what happened"), rows, numbers("attempt"), indent=2)]


def _evidence_blocks(job: Job) -> list[Block]:
    evidence = job["evidence"] or {}
    exit_code, image_code = evidence.get("exit_code"), evidence.get("image_code")
    facts = Facts(
        [
            ("what happened", evidence.get("message")),
            ("exit code", None if exit_code is None else str(exit_code)),
            ("out of memory", "yes" if evidence.get("out_of_memory") else ""),
            ("image's code", None if image_code is None else str(image_code)),
            ("image says", evidence.get("image_message")),
        ],
        indent=2,
    )
    tail: list[Block] = [Line(line, "dim", indent=4) for line in evidence.get("log_tail") or ()]
    title: list[Block] = [Line("last lines of its output", indent=2)] if tail else []
    return [facts, *title, *tail]


def _what_to_do(job: Job) -> list[Block]:
    return [Facts([("next step", _next_step(job)), ("all output", f"sluice job logs {job['id']}"), ("run directory", job["run_dir"])])]


def _next_step(job: Job) -> str:
    hint = (job["evidence"] or {}).get("hint") or ""
    return "\n".join(dict.fromkeys(text for text in (hint, job["next_step"]) if text))


def _result_blocks(job: Job, head: Sequence[tuple[str, Any]] = ()) -> list[Block]:
    """``head``: facts to begin with, in one list with those of the result."""
    result = job["result"] or {}
    if job["kind"] == "training":
        return _training_blocks(result, head)
    if job["kind"] == "mining":
        return _mining_blocks(result, head, job)
    if job["kind"] == "inference":
        return _inference_blocks(result, head)
    return [*_mining_blocks(result["mining"], head, job), Line(), *_inference_blocks(result["inference"], ())]


def _training_blocks(result: Mapping[str, Any], head: Sequence[tuple[str, Any]]) -> list[Block]:
    metrics = "  ".join(f"{name} {metric_text(value)}" for name, value in result["metrics"].items())
    facts = Facts([*head, ("model", result["model"]), ("best stage", result["best_stage"]), ("metrics", metrics)])
    return [facts, Line(), stage_table(result["stages"], result["best_stage"])] if len(result["stages"]) > 1 else [facts]


def stage_table(stages: list[Mapping[str, Any]], best: str) -> Table:
    """The last ten stages with the metrics any of them has; the best one is marked."""
    shown = [stage for stage in stages[:-_SHOWN_STAGES] if stage["name"] == best] + list(stages[-_SHOWN_STAGES:])
    names = list(dict.fromkeys(name for stage in shown for name in stage["metrics"]))
    rows = [
        (f"{stage['name']}{' *' if stage['name'] == best else ''}", *(metric_text(stage["metrics"].get(name)) for name in names))
        for stage in shown
    ]
    return Table(("stage", *names), rows, numbers(*names))


def _mining_blocks(result: Mapping[str, Any], head: Sequence[tuple[str, Any]], job: Job) -> list[Block]:
    facts = Facts(
        [
            *head,
            ("ranked", count_text(result["ranked"], "image")),
            ("hard", f"{result['hard']} of {count_text(result['explained'], 'image')}" if "hard" in result else ""),
            ("kept", result["top_k"]),
            ("ranking file", result["ranking_file"]),
            ("reasons file", result.get("reasons_file")),
            ("the image's files", f"{job['run_dir']}/out: {', '.join(result['files'])}" if result.get("files") else ""),
        ]
    )
    if "reasons_file" in result:
        return [facts, Line(), _reasons_table(result["top"])]
    rows = [(rank, row["name"], score_text(row["score"]), row["asset"]) for rank, row in enumerate(result["top"], start=1)]
    return [facts, Line(), Table(("rank", "name", "score", "asset"), rows, numbers("rank", "score"))]


def _reasons_table(top: Sequence[Mapping[str, Any]]) -> Table:
    """The first pictures and why, in words."""
    rows = [
        (rank, row["name"], score_text(row.get("coefficient")), "yes" if row.get("hard") else "", "; ".join(row.get("texts") or ()))
        for rank, row in enumerate(top, start=1)
    ]
    return Table(("rank", "name", "coefficient", "hard", "because"), rows, numbers("rank", "coefficient"))


def score_text(score: float | None) -> str:
    """Six significant digits; '' when the image gave none."""
    return "" if score is None else f"{score:.6g}"


def _inference_blocks(result: Mapping[str, Any], head: Sequence[tuple[str, Any]]) -> list[Block]:
    if "labels" in result:
        return _labels_blocks(result, head)
    counts = [("images", result["images"]), ("with boxes", result["images_with_boxes"]), ("boxes", result["boxes"])]
    facts = Facts([*head, *counts, ("predictions file", result["predictions_file"])])
    return [facts, Line(), Table(("class", "boxes"), list(result["classes"].items()), numbers("boxes"))] if result["classes"] else [facts]


def _labels_blocks(result: Mapping[str, Any], head: Sequence[tuple[str, Any]]) -> list[Block]:
    """Of a classification: how many pictures have which label as their surest."""
    counts = [("images", result["images"]), ("with labels", result["images_with_labels"])]
    facts = Facts([*head, *counts, ("predictions file", result["predictions_file"])])
    return [facts, Line(), Table(("class", "images"), list(result["labels"].items()), numbers("images"))]

"""A job in words: what it left, or why it failed and what to do."""

from __future__ import annotations

import io
from typing import Any

from runner.cli.blocks import Block, print_blocks
from runner.cli.job_blocks import failure_blocks, list_blocks, next_commands, result_blocks, show_blocks, stage_table, warning_blocks

DIGEST = "sha256:" + "ab" * 32


def printed(blocks: list[Block]) -> str:
    stream = io.StringIO()
    print_blocks(blocks, stream)
    return stream.getvalue()


def a_job(**changes: Any) -> dict[str, Any]:
    job: dict[str, Any] = {
        "id": "t4k2m9xq",
        "name": "first",
        "kind": "training",
        "state": "succeeded",
        "step": "finish",
        "end_reason": "succeeded",
        "next_step": "",
        "user": "me",
        "project": "default",
        "priority": 0,
        "queue": None,
        "attempt": 1,
        "attempts": [],
        "image": {"name": "detector", "reference": "acme/detector:1", "digest": DIGEST},
        "engine": "docker",
        "model": None,
        "data": {"train": "scenes@V001:train", "val": "scenes@V001:val"},
        "gpus": [],
        "created_at": "2026-11-21T06:00:00.000Z",
        "started_at": "2026-11-21T06:00:01.000Z",
        "ended_at": "2026-11-21T06:02:31.000Z",
        "duration_s": 150.0,
        "progress": None,
        "exit_code": 0,
        "evidence": None,
        "warnings": [],
        "result": None,
        "run_dir": "/home/me/.sluice/runs/t4k2m9xq",
        "rerun_of": None,
        "cancel_requested": False,
        "attended": False,
        "spec": {"parameters": {"epochs": 3}, "class_names": []},
    }
    return {**job, **changes}


STAGES = [{"name": f"e{n}", "metrics": {"mAP": n / 100}, "timestamp": n} for n in range(1, 15)]
TRAINED = {"model": "first", "best_stage": "e2", "metrics": {"mAP": 0.8125, "tp": 120}, "stages": STAGES}
MINED = {"ranked": 40, "top_k": 2, "top": [{"asset": "a" * 40, "name": "one.jpg", "score": 0.25}], "ranking_file": "/r.parquet"}
INFERRED = {"images": 9, "images_with_boxes": 0, "boxes": 0, "classes": {}, "predictions_file": "/p.parquet"}
EVIDENCE = {
    "message": "the container ended with exit code 3",
    "exit_code": 3,
    "out_of_memory": False,
    "image_code": 170003,
    "image_message": "no [bold]weights",
    "log_tail": ["Traceback:", "  boom \x1b[2J"],
    "hint": "Look at the weights.",
    "fields": {},
}
FAILED = a_job(state="failed", end_reason="exit_code", next_step="Its last lines say why.", exit_code=3, evidence=EVIDENCE)


def test_a_training_says_model_best_stage_and_metrics() -> None:
    text = printed(result_blocks(a_job(result=TRAINED)))
    assert "took        2 min 30 s" in text
    assert "best stage  e2" in text
    assert "metrics     mAP 0.8125  tp 120" in text


def test_a_long_list_of_stages_is_cut_to_the_last_ten_and_the_best() -> None:
    table = stage_table(STAGES, "e2")
    assert [row[0] for row in table.rows] == ["e2 *", *(f"e{n}" for n in range(5, 15))]


def test_a_mining_that_says_why_shows_it_in_words() -> None:
    top = [
        {
            "asset": "a" * 40,
            "name": "one.jpg",
            "score": 1.0,
            "coefficient": 1.0,
            "hard": True,
            "reasons": [0],
            "texts": ["nothing was found"],
        },
        {"asset": "b" * 40, "name": "two.jpg", "score": 0.5},
    ]
    result = {**MINED, "top": top, "explained": 1, "hard": 1, "reasons": {"0": 1}, "reasons_file": "/why.parquet", "files": ["report.json"]}
    text = printed(result_blocks(a_job(kind="mining", run_dir="/runs/m1", result=result)))
    assert "1 of 1 image" in text
    assert "/runs/m1/out: report.json" in text
    assert [line.split() for line in text.splitlines() if ".jpg" in line] == [
        ["1", "one.jpg", "1", "yes", "nothing", "was", "found"],
        ["2", "two.jpg"],
    ]


def test_a_mining_shows_its_first_rows_and_an_inference_its_counts() -> None:
    text = printed(result_blocks(a_job(kind="mining+inference", result={"mining": MINED, "inference": INFERRED})))
    assert f"1  one.jpg   0.25  {'a' * 40}" in text
    assert "with boxes        0" in text


def test_a_failure_says_reason_evidence_and_the_next_step() -> None:
    lines = printed(failure_blocks(FAILED)).splitlines()
    assert lines[0] == "Job t4k2m9xq failed: exit_code"
    assert "  what happened  the container ended with exit code 3" in lines
    assert "  image's code   170003" in lines
    assert "  image says     no [bold]weights" in lines
    assert lines[lines.index("  last lines of its output") + 1 :][:2] == ["    Traceback:", "      boom \\x1b[2J"]
    assert lines[-4:] == [
        "next step      Look at the weights.",
        "               Its last lines say why.",
        "all output     sluice job logs t4k2m9xq",
        "run directory  /home/me/.sluice/runs/t4k2m9xq",
    ]


def test_a_cancelled_job_is_not_called_failed() -> None:
    assert printed(failure_blocks(a_job(state="cancelled", end_reason="cancelled"))).startswith("Job t4k2m9xq was cancelled\n")


def test_a_running_job_shows_step_progress_and_the_images_words() -> None:
    job = a_job(
        state="running", step="follow", end_reason=None, ended_at=None, duration_s=None, progress={"fraction": 0.3, "message": "epoch 3"}
    )
    text = printed(show_blocks(job))
    assert "step           running" in text
    assert "progress       30 %  epoch 3" in text
    assert "digest         " + DIGEST in text
    assert "parameters     epochs=3" in text


def test_the_list_shows_why_a_job_failed_and_says_when_there_are_more() -> None:
    text = printed(list_blocks({"jobs": [FAILED], "total": 7}))
    assert "failed: exit_code" in text
    assert "1 of 7 jobs" in text


QUEUED = {"state": "queued", "step": "queued", "end_reason": None, "started_at": None, "ended_at": None, "duration_s": None}
PLACE = {"position": 3, "reason": "needs 4 GPUs, free 2; gpu3 foreign pid 4711"}


def test_a_job_that_waits_says_its_place_and_why_in_the_list_and_alone() -> None:
    job = a_job(**QUEUED, queue=PLACE)
    assert "queued  3rd: needs 4 GPUs, free 2; gpu3 foreign pid 4711" in printed(list_blocks({"jobs": [job], "total": 1}))
    assert "queue          3rd: needs 4 GPUs, free 2; gpu3 foreign pid 4711\n" in printed(show_blocks(job))


def test_the_list_names_people_and_projects_only_where_they_differ() -> None:
    page = {"jobs": [a_job(), a_job(user="eve", project="eyes")], "total": 2}
    assert printed(list_blocks(page)).splitlines()[0].split()[:4] == ["job", "name", "user", "project"]
    assert "user" not in printed(list_blocks({"jobs": [a_job(), a_job()], "total": 2}))


def test_a_job_says_for_whom_it_runs_and_why_it_was_tried_again() -> None:
    attempt = {"attempt": 1, "end_reason": "gpu_lost", "ended_at": None, "evidence": {"message": "GPU-1 fell off the bus"}}
    text = printed(show_blocks(a_job(user="eve", project="eyes", priority=5, attempt=2, attempts=[attempt])))
    assert "user           eve\nproject        eyes\npriority       5\n" in text
    assert "earlier attempts\n  attempt  ended as  at  what happened\n        1  gpu_lost      GPU-1 fell off the bus\n" in text


def test_a_job_says_what_was_asked_for_in_the_words_of_the_options() -> None:
    gib = 1024**3
    spec = {
        "gpu_count": 2,
        "gpu": {"model": "h200", "memory_bytes": 80 * gib, "pool": None},
        "cpu_count": 0.5,
        "timeout_s": 7200.0,
        "retries": 0,
    }
    lines = printed(show_blocks(a_job(spec=spec))).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("asks for"))
    asked = [line.removeprefix("asks for").strip() for line in lines[begin : begin + 6]]
    assert asked == ["--gpus 2", "--gpu-model h200", "--gpu-memory 80.0 GiB", "--cpus 0.5", "--timeout 2 h", "--retries 0"]


def test_a_job_says_what_it_used_as_far_as_that_is_known() -> None:
    gib = 1024**3
    usage = {
        "cpu_seconds": 90.0,
        "max_memory_bytes": 3 * gib,
        "memory_limit_bytes": 8 * gib,
        "max_gpu_memory_bytes": None,
        "out_bytes": 2048,
    }
    lines = printed(show_blocks(a_job(usage={**usage, "mean_gpu_utilization_fraction": 0.714}))).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("used "))
    assert [line.removeprefix("used").strip() for line in lines[begin : begin + 5]] == [
        "CPU time 1 min 30 s",
        "memory at most 3.0 GiB of 8.0 GiB",
        "GPU busy 71 % on average",
        "/out 2.0 KiB",
        "run directory  /home/me/.sluice/runs/t4k2m9xq",
    ]


def test_an_empty_list_says_whether_there_are_others() -> None:
    assert printed(list_blocks({"jobs": [], "total": 0})) == "No jobs.\n"
    assert printed(list_blocks({"jobs": [], "total": 7})) == "No jobs on this page; there are 7.\n"


def test_warnings_are_counted_beyond_ten() -> None:
    warnings = [{"code": "odd", "message": f"line {n}", "place": f"result.tsv:{n}" if n else ""} for n in range(12)]
    lines = printed(warning_blocks(warnings)).splitlines()
    assert lines[:3] == ["warnings", "  line 0  (odd)", "  result.tsv:1: line 1  (odd)"]
    assert lines[-1] == "  … and 2 more: sluice job show --json"


def test_the_next_commands_use_what_the_job_left() -> None:
    assert next_commands(a_job(result=TRAINED))[0] == "sluice infer --model first --data scenes@V001:val"
    assert next_commands(a_job(kind="inference", result=INFERRED)) == ["sluice job sheet t4k2m9xq sheet.png"]

"""Waiting on a pipe: a line for each step and each ten percent, and the right end."""

from __future__ import annotations

from typing import Any

import pytest

from runner.cli.following import LineDisplay, job_failed


def seen(step: str, fraction: float | None = None, message: str = "", state: str = "running") -> dict[str, Any]:
    progress = None if fraction is None else {"fraction": fraction, "message": message, "state": "running"}
    return {"id": "t4k2m9xq", "state": state, "step": step, "progress": progress}


def lines(capsys: pytest.CaptureFixture[str], *jobs: dict[str, Any]) -> list[str]:
    with LineDisplay() as display:
        for job in jobs:
            display.update(job)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_each_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, seen("queued", state="queued"), seen("stage"), seen("stage"), seen("follow"), seen("follow", 0.0)) == [
        "t4k2m9xq  queued",
        "t4k2m9xq  staging the data",
        "t4k2m9xq  running",
    ]


def test_each_ten_percent_is_one_line_with_the_images_words(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [seen("follow", n / 100, f"epoch {n}\x1b[2J") for n in (0, 5, 29, 30, 31, 39)]
    assert lines(capsys, *jobs) == [
        "t4k2m9xq  running",
        "t4k2m9xq  running  20 %  epoch 29\\x1b[2J",
        "t4k2m9xq  running  30 %  epoch 30\\x1b[2J",
    ]


def test_progress_of_other_steps_and_ended_jobs_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, seen("collect", 1.0), seen("collect", 0.5), seen("finish", 1.0, state="succeeded")) == [
        "t4k2m9xq  collecting results"
    ]


def test_a_job_that_waits_says_each_new_place_and_reason_once(capsys: pytest.CaptureFixture[str]) -> None:
    def waits(position: int, reason: str) -> dict[str, Any]:
        return {**seen("queued", state="queued"), "queue": {"position": position, "reason": reason}}

    free = "needs 4 GPUs, free 2; gpu3 foreign pid 4711"
    assert lines(capsys, waits(3, free), waits(3, free), waits(1, free), waits(1, "is next"), seen("queued", state="queued")) == [
        "t4k2m9xq  waiting, 3rd: needs 4 GPUs, free 2; gpu3 foreign pid 4711",
        "t4k2m9xq  waiting, 1st: needs 4 GPUs, free 2; gpu3 foreign pid 4711",
        "t4k2m9xq  waiting, 1st: is next",
        "t4k2m9xq  queued",
    ]


def test_the_error_of_a_failed_job_carries_the_whole_job() -> None:
    job = {**seen("finish", state="failed"), "end_reason": "timeout", "next_step": "More time.", "evidence": {"message": "it ran 5 s"}}
    error = job_failed(job)
    assert (error.message, error.hint, error.fields["job"]) == ("job t4k2m9xq failed: timeout: it ran 5 s", "More time.", job)


def test_a_cancelled_job_is_an_error_for_who_waited() -> None:
    job = {**seen("finish", state="cancelled"), "end_reason": "cancelled", "next_step": "", "evidence": None}
    assert job_failed(job).message == "job t4k2m9xq was cancelled"

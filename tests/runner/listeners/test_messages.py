"""What listeners are told: the fields of the note, and nothing that should not leave the host."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from contracts.job import EndReason, Evidence, Step
from registry.jobs import JobRecord
from runner.messages import EVENTS, message_of
from runner.views import job_view

NOTE = Path(__file__).parents[3] / "docs" / "notes" / "listeners.md"
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def told(job: JobRecord, event: str = "failed", **changes: Any) -> dict[str, Any]:
    return message_of(job_view(replace(job, **changes), attended=True), event)


@pytest.fixture
def failed(job: JobRecord) -> JobRecord:
    evidence = Evidence(
        message="the image exited with code 1",
        exit_code=1,
        log_tail=("a-line-of-the-log",),
        hint="Look.",
        fields={"traceback": "in-our-code"},
    )
    return replace(job, end_reason=EndReason.EXIT_CODE, exit_code=1, evidence=evidence.to_dict(), step=Step.FINISH, started_at=BEGIN)


def test_a_message_says_what_happened_to_which_job(failed: JobRecord) -> None:
    message = told(failed)
    assert (message["id"], message["event"]) == ("t4k2m9xq.1.failed", "failed")
    assert message["text"] == "training cells-1 (t4k2m9xq) failed: exit_code, the image exited with code 1"
    expected = {"state": "failed", "user": "ada", "project": "cells", "image": "tinydet", "end_reason": "exit_code", "hint": "Look."}
    assert {name: message["job"][name] for name in expected} == expected
    assert message["job"]["next_step"]


def test_a_job_that_only_started_has_a_message_too(job: JobRecord) -> None:
    message = told(job, "started", name=None)
    assert message["text"] == "training t4k2m9xq started"
    assert (message["job"]["end_reason"], message["job"]["message"], message["job"]["result"]) == (None, None, None)


def test_neither_the_log_nor_parameters_nor_tracebacks_nor_files_leave_the_host(failed: JobRecord) -> None:
    result = {"model": "cells-1", "ranking_file": "/home/ada/x.parquet", "stages": [{"name": "s"}], "metrics": {"mAP": 0.5}}
    message = told(failed, result=result)
    text = json.dumps(message)
    assert not [word for word in ("a-line-of-the-log", "in-our-code", "a-secret-parameter", "/home/ada", "runs/") if word in text]
    assert message["job"]["result"] == {"model": "cells-1", "metrics": {"mAP": 0.5}}


def test_whatever_an_image_wrote_the_message_is_small_and_strict_json(failed: JobRecord) -> None:
    metrics = {f"class {n} \udce4": math.nan for n in range(1000)}
    evidence = Evidence(message="x" * 10_000, image_message="\udce4\0").to_dict()
    message = told(failed, result={"metrics": metrics, "deep": {"a": {"b": {"c": {"d": 1}}}}}, evidence=evidence)
    text = json.dumps(message, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) < 5000
    assert message["job"]["result"]["metrics"]["class 0 ?"] is None


@pytest.mark.parametrize("event", EVENTS)
def test_the_note_names_every_event(event: str) -> None:
    assert f"`{event}`" in NOTE.read_text(encoding="utf-8")


def test_the_note_names_every_field(failed: JobRecord) -> None:
    note = NOTE.read_text(encoding="utf-8")
    message = told(failed)
    assert [name for name in (*message, *message["job"]) if f"`{name}`" not in note] == []


def test_the_check_in_the_note_is_the_one_that_holds() -> None:
    from plugins.listeners.webhook import sign

    code = NOTE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    headers = {"Sluice-Timestamp": "1700000000", "Sluice-Signature": sign("secret", "1700000000", b"{}")}
    assert names["is_ours"]("secret", headers, b"{}", now=1700000100)
    assert not names["is_ours"]("other", headers, b"{}", now=1700000100)
    assert not names["is_ours"]("secret", headers, b"{ }", now=1700000100)
    assert not names["is_ours"]("secret", headers, b"{}", now=1700000400)

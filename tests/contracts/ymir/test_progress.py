"""monitor.txt: every writer of section 5.1, and whatever else may lie in its place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.results import Progress
from contracts.ymir import read_progress
from contracts.ymir.progress import parse_progress

MODIFIED_AT = 1_700_000_000.0


def parse(text: str) -> Progress:
    progress = parse_progress(text.encode(), MODIFIED_AT)
    assert progress
    return progress


#: Every variant of the table in section 5.1: text, fraction, state, timestamp, tolerances.
VARIANTS = {
    "sdk master": ("id\t1663934682.08162\t0.50\t2\t0\n", 0.5, "running", 1663934682.08162, []),
    "ymir itself": ("id\t1663934682.081620\t0.50\t2\t0\n", 0.5, "running", 1663934682.08162, []),
    "sdk ymir1.0.0": ("id\t1663934682.08162\t0.50\t2\n", 0.5, "running", 1663934682.08162, []),
    "sdk py2, 4 fields": ("id\t{time.time()}\t0.50\t2\n", 0.5, "running", MODIFIED_AT, ["monitor_timestamp"]),
    "sdk py2, 5 fields": ("id\t{time.time()}\t0.50\t2\t0\n", 0.5, "running", MODIFIED_AT, ["monitor_timestamp"]),
    "yolov4 darknet": ("id\t1663934682.000000\t0.50\t2\n", 0.5, "running", 1663934682.0, []),
    "yolov4 shell": ("id\t1663934682\t0.50\t2\t\n", 0.5, "running", 1663934682.0, []),
    "yolov4 mining": ("0\t1663934682.1\t0.25\t2", 0.25, "running", 1663934682.1, []),
    "documentation": ("id 1663934682.08 0.50 2 0\n", 0.5, "running", 1663934682.08, ["monitor_separator"]),
    "doc-0.0, words": ("id\t1663934682\t1.00\tdone\n", 1.0, "done", 1663934682.0, ["monitor_state"]),
    "doc-0.0, pending": ("id\t1663934682\t0\tpending\n", 0.0, "pending", 1663934682.0, ["monitor_state"]),
    "windows line end": ("id\t1663934682\t0.50\t2\t0\r\n", 0.5, "running", 1663934682.0, []),
    "byte order mark": ("\ufeffid\t1663934682\t0.50\t2\t0\n", 0.5, "running", 1663934682.0, []),
    "leading blank line": ("\n id\t1663934682\t0.50\t2\t0\n", 0.5, "running", 1663934682.0, []),
    "percent too large": ("id\t1663934682\t50\t2\t0\n", 1.0, "running", 1663934682.0, ["monitor_percent_range"]),
    "percent below zero": ("id\t1663934682\t-0.1\t2\t0\n", 0.0, "running", 1663934682.0, ["monitor_percent_range"]),
    "pending": ("id\t1663934682\t0.00\t1\t0\n", 0.0, "pending", 1663934682.0, []),
    "done": ("id\t1663934682\t1.00\t3\t0\n", 1.0, "done", 1663934682.0, []),
    "error": ("id\t1663934682\t0.30\t4\t0\n", 0.3, "error", 1663934682.0, []),
    "unknown": ("id\t1663934682\t0.30\t0\t0\n", 0.3, "unknown", 1663934682.0, []),
    "task states": ("id\t1663934682\t0.30\t100\t0\n", 0.3, "unknown", 1663934682.0, ["monitor_state"]),
    "infinite time": ("id\tinf\t0.30\t2\t0\n", 0.3, "running", MODIFIED_AT, ["monitor_timestamp"]),
    "empty time": ("id\t\t0.30\t2\t0\n", 0.3, "running", MODIFIED_AT, ["monitor_timestamp"]),
}


@pytest.mark.parametrize(("text", "fraction", "state", "timestamp", "codes"), VARIANTS.values(), ids=VARIANTS)
def test_every_known_writer_is_understood(text: str, fraction: float, state: str, timestamp: float, codes: list[str]) -> None:
    progress = parse(text)
    assert (progress.fraction, progress.state, progress.timestamp) == (fraction, state, timestamp)
    assert (progress.code, progress.message, progress.trace) == (0, "", "")
    assert [re.sub("_range$", "_range", warning.code) for warning in progress.warnings] == codes


@pytest.mark.parametrize(
    ("row", "code", "message", "codes"),
    [
        ("id\t1\t0.5\t4\t300103\tout of memory", 300103, "out of memory", []),
        ("id\t1\t0.5\t4\t300103\ta\ttab inside", 300103, "a\ttab inside", []),
        ("id 1 0.5 4 300103 out of memory", 300103, "out of memory", ["monitor_separator"]),
        ("id\t1\t0.5\t4\t-5", -5, "", []),
        ("id\t1\t0.5\t4\tCUDA error\tdetails", 0, "CUDA error details", ["monitor_code"]),
        ("id\t1\t0.5\t4\t\tdetails", 0, "details", []),
        ("id\t1\t0.5\t4\t" + "9" * 50, 0, "9" * 50, ["monitor_code"]),
        ("id\t1\t0.5\t4\t٣", 0, "٣", ["monitor_code"]),
    ],
)
def test_the_images_own_code_and_message_are_kept(row: str, code: int, message: str, codes: list[str]) -> None:
    progress = parse(row)
    assert (progress.code, progress.message) == (code, message)
    assert [warning.code for warning in progress.warnings] == codes


def test_lines_2_to_100_are_the_trace() -> None:
    trace = "\n".join(f"line {i}" for i in range(2, 200))
    assert parse(f"id\t1\t0.5\t4\t300103\n{trace}").trace == "\n".join(f"line {i}" for i in range(2, 101))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "  \t ",
        "id",
        "id\t1663934682\t0.5",
        "id\t1\thalf\t2",
        "id\t1\tnan\t2",
        "id\t1\t\t2\t0",
        "Traceback (most recent call last):",
        "\x00" * 9,
    ],
)
def test_what_cannot_be_read_now_is_no_progress(text: str) -> None:
    assert parse_progress(text.encode(), MODIFIED_AT) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_progress_in_range_or_none(content: bytes) -> None:
    progress = parse_progress(content, MODIFIED_AT)
    assert progress is None or 0 <= progress.fraction <= 1


@given(st.lists(st.text(alphabet="0123456789.+-einfa{}\t \n", max_size=12), max_size=8))
def test_any_fields_are_progress_in_range_or_none(fields: list[str]) -> None:
    progress = parse_progress("\t".join(fields).encode(), MODIFIED_AT)
    assert progress is None or 0 <= progress.fraction <= 1


# ------------------------------------------------------------------------------------------- what may lie in the file's place


def test_the_files_own_time_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "monitor.txt").write_text("id\t{time.time()}\t0.5\t2\n")
    os.utime(tmp_path / "monitor.txt", (1000, 1000))
    progress = read_progress(tmp_path)
    assert progress
    assert progress.timestamp == 1000


def test_no_file_and_no_folder_are_no_progress(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    assert read_progress(tmp_path / "missing") is None


def test_a_folder_in_its_place_is_no_progress(tmp_path: Path) -> None:
    (tmp_path / "monitor.txt").mkdir()
    assert read_progress(tmp_path) is None


def test_a_pipe_in_its_place_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "monitor.txt")
    assert read_progress(tmp_path) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("id\t1\t0.5\t2\t0\tsecret\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "monitor.txt").symlink_to(tmp_path / "secret")
    assert read_progress(tmp_path / "out") is None


def test_of_a_giant_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    (tmp_path / "monitor.txt").write_text("id\t1\t0.5\t2\t0\n")
    os.truncate(tmp_path / "monitor.txt", 2**40)
    progress = read_progress(tmp_path)
    assert progress
    assert progress.fraction == 0.5

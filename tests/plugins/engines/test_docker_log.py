"""The engine's json files read across rotations, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import EngineError
from plugins.engines.docker_log import read_files


def entry(number: int) -> str:
    return json.dumps({"log": f"line {number}\n", "stream": "stdout", "time": f"2026-01-01T00:00:00.{number:09d}Z"}) + "\n"


def rotate(log: Path, keep: int = 3) -> None:
    for number in range(keep - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}")) if number + 1 < keep else older.unlink()
    log.rename(log.with_name(f"{log.name}.1"))
    log.touch()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "c-json.log"
    file.write_text(entry(0) + entry(1))
    return file


def test_a_line_that_is_still_being_written_is_left_for_later(log: Path) -> None:
    whole, half = entry(2)[:20], entry(2)[20:]
    with log.open("a") as file:
        file.write(whole)
    first = read_files(log, "")
    assert first.data == b"line 0\nline 1\n"
    with log.open("a") as file:
        file.write(half)
    assert read_files(log, first.cursor).data == b"line 2\n"


def test_reading_goes_on_in_a_file_that_was_renamed_and_then_in_the_new_one(log: Path) -> None:
    cursor = read_files(log, "").cursor
    with log.open("a") as file:
        file.write(entry(2))
    rotate(log)
    log.write_text(entry(3))
    assert read_files(log, cursor).data == b"line 2\nline 3\n"
    assert read_files(log, "").data == b"line 0\nline 1\nline 2\nline 3\n"


def test_a_moment_without_the_newest_file_is_no_loss(log: Path) -> None:
    cursor = read_files(log, "").cursor
    rotate(log)
    log.unlink()
    assert read_files(log, cursor).data == b""
    log.write_text(entry(2))
    assert read_files(log, cursor).data == b"line 2\n"


def test_output_that_was_dropped_unread_is_said_in_the_output(log: Path) -> None:
    cursor = read_files(log, "").cursor
    for number in range(2, 6):
        rotate(log)
        log.write_text(entry(number))
    chunk = read_files(log, cursor)
    lost, *rest = chunk.data.decode().splitlines()
    assert lost.startswith("[sluice: output was lost here")
    assert rest == ["line 3", "line 4", "line 5"]
    assert read_files(log, chunk.cursor).data == b""


def test_lines_torn_by_a_crash_are_passed_over(log: Path) -> None:
    with log.open("a") as file:
        file.write('{"log":"torn\n' + "\0\0\0\n" + "7\n" + entry(2))
    assert read_files(log, "").data == b"line 0\nline 1\nline 2\n"


def test_the_cursor_of_the_other_way_is_refused_with_what_to_do(log: Path) -> None:
    with pytest.raises(EngineError, match="over the API") as caught:
        read_files(log, "api:17:3")
    assert caught.value.hint


def test_a_container_that_never_wrote_has_an_empty_log(tmp_path: Path) -> None:
    assert read_files(tmp_path / "none-json.log", "").data == b""

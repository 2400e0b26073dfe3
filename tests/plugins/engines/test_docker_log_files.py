"""The engine's json files read across rotations, without an engine: by a reader that keeps its file open, and by one made for each look."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import EngineError
from contracts.seams import LogChunk
from plugins.engines.docker_log_files import ContainerLog, LogFiles, output_of

Read = Callable[[Path, str], LogChunk]


def entry(number: int) -> str:
    return json.dumps({"log": f"line {number}\n", "stream": "stdout", "time": f"2026-01-01T00:00:00.{number:09d}Z"}) + "\n"


def rotate(log: Path, keep: int = 3) -> None:
    for number in range(keep - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}")) if number + 1 < keep else older.unlink()
    log.rename(log.with_name(f"{log.name}.1"))
    log.touch()


@pytest.fixture(params=["one reader", "a reader for each look"])
def read(request: pytest.FixtureRequest) -> Iterator[Read]:
    readers: dict[Path, ContainerLog] = {}

    def read(path: Path, cursor: str) -> LogChunk:
        if path not in readers or request.param != "one reader":
            if path in readers:
                readers[path].close()
            readers[path] = ContainerLog(path)
        return readers[path].read(cursor)

    yield read
    for reader in readers.values():
        reader.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "c-json.log"
    file.write_text(entry(0) + entry(1))
    return file


def test_a_line_that_is_still_being_written_is_left_for_later(read: Read, log: Path) -> None:
    whole, half = entry(2)[:20], entry(2)[20:]
    with log.open("a") as file:
        file.write(whole)
    first = read(log, "")
    assert first.data == b"line 0\nline 1\n"
    with log.open("a") as file:
        file.write(half)
    assert read(log, first.cursor).data == b"line 2\n"


def test_reading_goes_on_in_a_file_that_was_renamed_and_then_in_the_new_one(read: Read, log: Path) -> None:
    cursor = read(log, "").cursor
    with log.open("a") as file:
        file.write(entry(2))
    rotate(log)
    log.write_text(entry(3))
    assert read(log, cursor).data == b"line 2\nline 3\n"
    assert read(log, "").data == b"line 0\nline 1\nline 2\nline 3\n"


def test_a_moment_without_the_newest_file_is_no_loss(read: Read, log: Path) -> None:
    cursor = read(log, "").cursor
    rotate(log)
    log.unlink()
    assert read(log, cursor).data == b""
    log.write_text(entry(2))
    assert read(log, cursor).data == b"line 2\n"


def test_a_moment_in_the_middle_of_a_rotation_is_no_loss(read: Read, log: Path) -> None:
    """The engine renames file by file: .1 is .2 already, and the newest is not .1 yet."""
    cursor = read(log, "").cursor
    rotate(log)
    log.write_text(entry(2))
    log.with_name(f"{log.name}.1").rename(log.with_name(f"{log.name}.2"))
    assert read(log, cursor).data == b"line 2\n"
    log.rename(log.with_name(f"{log.name}.1"))
    assert read(log, cursor).data == b"line 2\n"


def test_output_that_was_dropped_unread_is_said_in_the_output(read: Read, log: Path) -> None:
    cursor = read(log, "").cursor
    for number in range(2, 6):
        rotate(log)
        log.write_text(entry(number))
    chunk = read(log, cursor)
    lost, *rest = chunk.data.decode().splitlines()
    assert lost.startswith("[sluice: output was lost here")
    assert rest == ["line 3", "line 4", "line 5"]
    assert read(log, chunk.cursor).data == b""


def test_lines_torn_by_a_crash_are_passed_over(read: Read, log: Path) -> None:
    with log.open("a") as file:
        file.write('{"log":"torn\n' + "\0\0\0\n" + "7\n" + entry(2))
    assert read(log, "").data == b"line 0\nline 1\nline 2\n"


def test_the_cursor_of_the_other_way_is_refused_with_what_to_do(read: Read, log: Path) -> None:
    with pytest.raises(EngineError, match="over the API") as caught:
        read(log, "api:17:3")
    assert caught.value.hint


def test_a_container_that_never_wrote_has_an_empty_log(read: Read, tmp_path: Path) -> None:
    assert read(tmp_path / "none-json.log", "").data == b""


def test_a_reader_that_looks_while_the_engine_writes_and_rotates_gets_every_line_once(read: Read, tmp_path: Path) -> None:
    """The writer is a process of its own that renames as the engine does: some looks come in the middle of a rotation or of a line."""
    log, lines, cursor, ended = tmp_path / "c-json.log", 50_000, "", False
    numbers: list[int] = []
    with subprocess.Popen([sys.executable, "-c", _ROTATING_WRITER, str(log), str(lines)]) as writer:
        while True:
            ended = ended or writer.poll() is not None
            chunk = read(log, cursor)
            numbers += [int(line) for line in chunk.data.split()]
            if ended and chunk.cursor == cursor:
                break
            cursor = chunk.cursor
    assert numbers == list(range(lines))


_ROTATING_WRITER = """
import os, sys
log, lines, kept = sys.argv[1], int(sys.argv[2]), 100
def rotate():
    for number in range(kept - 1, 1, -1):
        if os.path.exists(f"{log}.{number - 1}"):
            os.rename(f"{log}.{number - 1}", f"{log}.{number}")
    os.rename(log, f"{log}.1")
file = open(log, "ab", buffering=0)
for number in range(lines):
    if number % 700 == 699:
        file.close()
        rotate()
        file = open(log, "ab", buffering=0)
    line = b'{"log":"%d\\\\n","stream":"stdout","time":"2026-01-01T00:00:00.%09dZ"}\\n' % (number, number)
    file.write(line[:20])
    file.write(line[20:])
"""


# ---------------------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "a \\ and a \\n and \t and \x1b[1m",
        'say "stream":"stdout"',
        "",
        "ü 漢 😀",
        '","stream":"stdout","time":"x"}',
        "<&>\u2028",
        "\x00",
    ],
)
def test_any_output_comes_out_as_it_went_in(text: str) -> None:
    entries = [{"log": part, "stream": "stderr", "time": "2026-01-01T00:00:00Z"} for part in (f"{text}\n", text)]
    lines = [json.dumps(entry, ensure_ascii=escaped).encode() for escaped in (True, False) for entry in entries]
    compact = [line.replace(b'", "', b'","').replace(b'": "', b'":"') for line in lines]
    for form in (lines, compact):
        assert output_of(b"".join(line + b"\n" for line in form)).decode() == f"{text}\n{text}" * 2


def test_entries_with_attributes_of_the_engines_own_are_read_too() -> None:
    line = '{"log":"words\\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-01-01T00:00:00Z"}\n'
    assert output_of((line + entry(1)).encode()) == b"words\nline 1\n"


@pytest.mark.parametrize("torn", ['{"log":"half', '{"log":"half\n', "\0\0\0", '{"log":"half\\', "[1,2]\n", '{"log":3}\n'])
def test_of_lines_torn_by_a_crash_only_the_torn_ones_are_lost(torn: str) -> None:
    after = entry(2) if torn.endswith("\n") else "\n" + entry(2)
    assert output_of((entry(1) + torn + after).encode()).replace(b"3", b"") == b"line 1\nline 2\n"


# ---------------------------------------------------------------------------------------------------------- many files


def test_a_container_that_was_removed_is_forgotten_with_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "container"
    folder.mkdir()
    (folder / "c-json.log").write_text(entry(0))
    files = LogFiles()
    cursor = files.open("c", folder / "c-json.log", "").cursor
    assert files.read("c", cursor) == LogChunk(b"", cursor)
    (folder / "c-json.log").unlink()
    folder.rmdir()
    assert files.read("c", cursor) is None
    assert files.read("c", cursor) is None


def test_a_reader_that_holds_a_file_reads_it_to_its_end_although_the_engine_dropped_it(log: Path) -> None:
    reader = ContainerLog(log)
    cursor = reader.read("").cursor
    with log.open("a") as file:
        file.write(entry(2))
    for number in range(3, 6):
        rotate(log)
        log.write_text(entry(number))
    assert reader.read(cursor).data.startswith(b"line 2\n")
    reader.close()


def test_only_so_many_files_are_held_open_and_the_others_are_opened_again(tmp_path: Path) -> None:
    files, before = LogFiles(), len(list(Path("/proc/self/fd").iterdir()))
    paths = {f"c{number}": tmp_path / f"c{number}-json.log" for number in range(200)}
    for name, path in paths.items():
        path.write_text(entry(1))
        assert files.open(name, path, "").data == b"line 1\n"
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 128
    assert files.read("c0", "") is None
    files.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before

"""The copy of a container's output is exact, also when the copying process dies between its two writes, or the machine loses power."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.seams import ContainerSpec, Engine
from plugins.engines.process import ProcessEngine
from runner.logs import LogCopy, begin_anew

LINES = b"".join(b"line %d\n" % number for number in range(300_000))


@pytest.fixture
def talked(tmp_path: Path) -> Iterator[tuple[Engine, str]]:
    """An engine with a container that has said 300 000 lines and ended: several chunks."""
    app = tmp_path / "image" / "app"
    app.mkdir(parents=True)
    (app / "start.sh").write_text("seq -f 'line %.0f' 0 299999\n")
    (tmp_path / "image" / "img-man").mkdir()
    (tmp_path / "image" / "img-man" / "training-template.yaml").write_text("epochs: 1\n")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    engine = ProcessEngine(tmp_path / "state")
    facts = engine.find_image(str(tmp_path / "image"))
    assert facts is not None
    spec = ContainerSpec("talker", facts.digest, tmp_path / "in", tmp_path / "out", reference=facts.reference)
    container = engine.create(spec)
    with engine.watch(container) as watch:
        engine.start(container)
        assert watch.wait(30.0) is not None
    yield engine, container
    engine.remove(container)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "container.log"


@pytest.fixture
def cursor(log: Path) -> Path:
    return log.with_name("container.log.cursor")


def test_the_whole_output_is_copied_once(talked: tuple[Engine, str], log: Path) -> None:
    copy = LogCopy(*talked, log)
    copy.drain()
    copy.drain()
    assert log.read_bytes() == LINES


def test_one_look_copies_all_that_is_new_and_the_next_one_nothing(talked: tuple[Engine, str], log: Path) -> None:
    copy = LogCopy(*talked, log)
    assert copy.copy() == len(LINES)
    assert copy.copy() == 0


def test_another_process_goes_on_where_the_first_one_stopped(talked: tuple[Engine, str], log: Path) -> None:
    LogCopy(*talked, log).drain()
    before = log.stat()
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES
    assert log.stat().st_mtime_ns == before.st_mtime_ns


def test_bytes_written_before_the_place_was_noted_are_not_written_twice(talked: tuple[Engine, str], log: Path) -> None:
    LogCopy(*talked, log)
    log.write_bytes(LINES[:1000])  # a copy that was killed after its write and before it noted the place
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES


def test_what_was_written_before_the_place_was_noted_is_no_news(talked: tuple[Engine, str], log: Path) -> None:
    log.write_bytes(LINES)
    assert LogCopy(*talked, log).copy() == 0
    log.write_bytes(LINES[:1000])
    log.with_name("container.log.cursor").unlink()
    assert LogCopy(*talked, log).copy() == len(LINES) - 1000


def test_a_copy_that_is_killed_anywhere_is_finished_by_the_next(talked: tuple[Engine, str], log: Path, tmp_path: Path) -> None:
    """Processes that copy and kill themselves with SIGKILL at their nth write, one after the other."""
    for write in range(1, 12):
        done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "state"), talked[1], str(log), str(write)], check=False)
        assert done.returncode in (-signal.SIGKILL, 0)
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES


_KILLED = """
import os, pathlib, signal, sys
from plugins.engines.process import ProcessEngine
from runner.logs import LogCopy
state, container, log, last = sys.argv[1:]
write, left = os.pwrite, [int(last)]
def pwrite(descriptor, data, offset):
    left[0] -= 1
    written = write(descriptor, data[: len(data) // 2] if left[0] == 0 else data, offset)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return written
os.pwrite = pwrite
LogCopy(ProcessEngine(pathlib.Path(state)), container, pathlib.Path(log)).drain()
"""


# ---------------------------------------------------------------------------------------------------------- after a power cut


def test_a_log_that_lost_its_end_is_read_again(talked: tuple[Engine, str], log: Path) -> None:
    LogCopy(*talked, log).drain()
    os.truncate(log, 5000)
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 512, b"[]", b'{"cursor": "7", "size": 7}'])
def test_a_cursor_that_cannot_be_read_means_the_beginning(talked: tuple[Engine, str], log: Path, cursor: Path, content: bytes) -> None:
    log.write_bytes(LINES[:777])
    cursor.write_bytes(content)
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES


def test_an_older_cursor_beside_a_longer_log_is_right_too(talked: tuple[Engine, str], log: Path, cursor: Path) -> None:
    engine, container = talked
    first = engine.read_log(container, "")
    LogCopy(engine, container, log).drain()
    cursor.write_text(f'{{"now": ["{first.cursor}", {len(first.data)}], "durable": ["", 0], "begin": ["", 0]}}')
    LogCopy(engine, container, log).drain()
    assert log.read_bytes() == LINES


def test_a_log_goes_on_at_the_durable_place_when_it_is_too_short_for_the_last_one(
    talked: tuple[Engine, str], log: Path, cursor: Path
) -> None:
    engine, container = talked
    first = engine.read_log(container, "")
    log.write_bytes(b"x" * len(first.data) + b"torn")  # x: what is durable is not read again
    cursor.write_text(f'{{"now": ["999", 9999999], "durable": ["{first.cursor}", {len(first.data)}], "begin": ["", 0]}}')
    LogCopy(engine, container, log).drain()
    assert log.read_bytes() == b"x" * len(first.data) + LINES[len(first.data) :]


# ------------------------------------------------------------------------------------------------------- the next attempt


def test_the_output_of_the_next_attempt_follows_that_of_the_former(talked: tuple[Engine, str], log: Path) -> None:
    LogCopy(*talked, log).drain()
    begin_anew(log)
    begin_anew(log)
    LogCopy(*talked, log).drain()
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES * 2


def test_the_former_attempt_is_kept_when_the_next_ones_output_is_lost(talked: tuple[Engine, str], log: Path) -> None:
    log.write_bytes(b"former\n")
    begin_anew(log)
    LogCopy(*talked, log).drain()
    os.truncate(log, 100)
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == b"former\n" + LINES


def test_what_was_copied_of_a_container_that_is_gone_stays(talked: tuple[Engine, str], log: Path, cursor: Path) -> None:
    engine, _ = talked
    log.write_bytes(b"some words\n")
    LogCopy(engine, "gone-1", log).drain()
    assert log.read_bytes() == b"some words\n"

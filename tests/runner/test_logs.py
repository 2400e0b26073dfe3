"""The copy of a container's output is exact, also when the copying process dies between its two writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.seams import ContainerSpec, Engine
from plugins.engines.process import ProcessEngine
from runner.logs import LogCopy

LINES = b"".join(b"line %d\n" % number for number in range(3000))


@pytest.fixture
def talked(tmp_path: Path) -> Iterator[tuple[Engine, str]]:
    """An engine with a container that has said 3000 lines and ended."""
    app = tmp_path / "image" / "app"
    app.mkdir(parents=True)
    (app / "start.sh").write_text('for i in $(seq 0 2999); do echo "line $i"; done\n')
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


def test_the_whole_output_is_copied_once(talked: tuple[Engine, str], tmp_path: Path) -> None:
    copy = LogCopy(*talked, tmp_path / "container.log")
    copy.drain()
    copy.drain()
    assert (tmp_path / "container.log").read_bytes() == LINES


def test_another_process_goes_on_where_the_first_one_stopped(talked: tuple[Engine, str], tmp_path: Path) -> None:
    LogCopy(*talked, tmp_path / "container.log").drain()
    LogCopy(*talked, tmp_path / "container.log").drain()
    assert (tmp_path / "container.log").read_bytes() == LINES


def test_bytes_written_before_the_place_was_noted_are_not_written_twice(talked: tuple[Engine, str], tmp_path: Path) -> None:
    log = tmp_path / "container.log"
    LogCopy(*talked, log)
    log.write_bytes(LINES[:1000])  # a copy that was killed after its write and before it noted the place
    LogCopy(*talked, log).drain()
    assert log.read_bytes() == LINES

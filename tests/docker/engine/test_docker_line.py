"""The Docker engine over a line that is cut, and over TCP, where the SDK speaks to it."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import EngineGoneError
from contracts.image import ImageFacts
from plugins.engines.docker import DockerEngine
from tests.conformance.engine import INSTALLATION, Job, read_all, wait_until
from tests.docker.engine.line import Line

pytestmark = pytest.mark.docker


@pytest.fixture(params=["local"])
def line(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line(tmp_path, tcp=request.param == "tcp")
    monkeypatch.setenv("DOCKER_HOST", line.host)
    yield line
    line.close()


@pytest.fixture
def engine(line: Line) -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    engine.close()


@pytest.fixture
def job(engine: DockerEngine, probe_image: ImageFacts, tmp_path: Path) -> Iterator[Job]:
    installation = uuid.uuid4().hex
    yield Job(engine, probe_image, tmp_path / "job", installation)
    for status in engine.list_containers({INSTALLATION: installation}):
        engine.stop(status.id, 0)
        engine.remove(status.id)


def test_what_follows_a_cut_is_asked_over_a_new_connection(engine: DockerEngine, line: Line, job: Job) -> None:
    container_id = job.ask("exit:3").create()
    line.cut()
    engine.start(container_id)
    line.cut()
    with engine.watch(container_id) as watch:
        status = watch.wait(60)
    assert status is not None
    assert status.exit_code == 3


def test_a_wait_over_a_line_that_is_cut_sees_the_end_all_the_same(engine: DockerEngine, line: Line, job: Job) -> None:
    container_id = job.ask("catch-term").start()
    job.wait_for("ready")
    with engine.watch(container_id) as watch:
        threading.Thread(target=line.cut).start()
        assert watch.wait(0.3) is None
        engine.stop(container_id, 20)
        status = watch.wait(60)
    assert status is not None
    assert status.state == "exited"


def test_listening_over_a_line_that_is_cut_ends_with_words(engine: DockerEngine, line: Line) -> None:
    hints = engine.hints({INSTALLATION: "nobody"}, lambda: False)
    assert next(hints) == ""
    line.cut()
    with pytest.raises(EngineGoneError, match="events"):
        next(hints)


def test_closing_an_engine_lets_go_of_every_connection(engine: DockerEngine, line: Line, job: Job) -> None:
    job.ask("exit:0").run()
    engine.close()
    wait_until(lambda: all(end.fileno() == -1 for end in line._ends), "every connection to be closed")
    assert engine.status(job.spec.name).exit_code == 0


@pytest.mark.parametrize("line", ["tcp"], indirect=True)
def test_over_tcp_a_job_runs_from_its_creation_to_its_removal(engine: DockerEngine, job: Job) -> None:
    status = job.ask("flood:3000000").run()
    assert (status.state, status.exit_code) == ("exited", 0)
    assert [listed.exit_code for listed in engine.list_containers(job.spec.labels)] == [0]
    assert len(read_all(engine, status.id)[0]) >= 3_000_000
    assert engine.find_image(job.spec.reference)
    assert engine.info().name == "docker"
    assert engine.copy_out(status.id, "/img-man/manifest.yaml", job.out_dir.parent / "copy")
    engine.remove(status.id)
    assert engine.status(status.id).state == "gone"


@pytest.mark.parametrize("line", ["tcp"], indirect=True)
def test_over_tcp_a_running_container_is_stopped_and_its_end_waited_for(engine: DockerEngine, job: Job) -> None:
    container_id = job.ask("catch-term").start()
    job.wait_for("ready")
    assert engine.stats(container_id).memory_bytes
    with engine.watch(container_id) as watch:
        assert watch.wait(0.05) is None
        engine.stop(container_id, 20)
        assert watch.wait(60) is not None
    assert next(engine.hints({}, lambda: False)) == ""


def test_the_sdk_is_not_loaded_for_what_a_job_needs(probe_image: ImageFacts) -> None:
    code = "import sys; from plugins.engines.docker import DockerEngine; DockerEngine().list_containers({'a': 'b'}); print('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "False\n"

"""One private engine for all tests with GPUs, with a world of cards that each test sets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.engines.docker import DockerEngine
from tests.docker.gpus.lab import Lab
from tests.docker.gpus.private_engine import PrivateEngine, make_images


@pytest.fixture(scope="session")
def world_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("nvml") / "world"
    file.touch()
    return file


@pytest.fixture(scope="session")
def private_engine(world_file: Path) -> Iterator[PrivateEngine]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("a Docker Engine of the tests' own needs root and dockerd")
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="dockerd-", dir="/tmp")), world_file)
    try:
        engine.start()
        make_images(engine)
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(private_engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    """The plugin on the private engine, whose containers are gone when the test ends."""
    monkeypatch.setenv("DOCKER_HOST", private_engine.host)
    engine = DockerEngine()
    yield engine
    engine.close()
    private_engine.remove_containers()


@pytest.fixture
def lab(engine: DockerEngine, private_engine: PrivateEngine, tmp_path: Path) -> Lab:
    return Lab(engine, private_engine, tmp_path)


@pytest.fixture
def uuids(world_file: Path) -> list[str]:
    found = [f"GPU-0000000{i}-aaaa" for i in range(8)]
    Path(f"{world_file}.procs").unlink(missing_ok=True)
    world_file.write_text("".join(f"gpu {u}\n mem 85899345920 0 0\n" for u in found))
    return found


@pytest.fixture
def slices(uuids: list[str], world_file: Path) -> list[str]:
    with world_file.open("a") as f:
        f.write("gpu GPU-mig\n mem 85899345920 0 0\n mig 1 1\n" + "".join(f" migdev MIG-{i} {i} 0 1 100 0\n" for i in range(7)))
    return [f"MIG-{i}" for i in range(7)]


class World:
    def __init__(self, f):
        self.f = f

    def clear(self):
        self.f.write_text("")

    def add(self, u):
        with self.f.open("a") as f:
            f.write(f"gpu {u}\n")


@pytest.fixture
def world(uuids, world_file):
    return World(world_file)

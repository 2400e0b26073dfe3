"""One private engine for all tests with GPUs, with a world of cards that each test sets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.engines.docker import DockerEngine
from plugins.gpus.nvml import NvmlSource
from registry.database import Database
from tests.docker.gpus.books import Host, open_pool
from tests.docker.gpus.lab import Lab
from tests.docker.gpus.private_engine import PrivateEngine, make_images
from tests.fake_nvml.library import build_fake_nvml
from tests.fake_nvml.world import Card, World


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in for NVML, beside which its world lies."""
    return build_fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def private_engine(library: Path) -> Iterator[PrivateEngine]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("a Docker Engine of the tests' own needs root and dockerd")
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="dockerd-", dir="/tmp")), library / "world")
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
    return Lab(engine, lambda: private_engine.api, tmp_path)


@pytest.fixture
def world(library: Path) -> World:
    """Eight idle cards."""
    world = World(library / "world")
    for name in ("procs", "toolkit"):
        Path(f"{world.path}.{name}").unlink(missing_ok=True)
    for number in range(8):
        world.add_card(f"GPU-0000000{number}-aaaa")
    return world.write()


@pytest.fixture
def uuids(world: World) -> list[str]:
    return [card.uuid for card in world.cards]


@pytest.fixture
def cut_card(world: World, uuids: list[str]) -> Card:
    """A ninth card, with seven slices."""
    card = world.add_card("GPU-cut")
    for number in range(7):
        card.add_slice(f"MIG-{number}")
    world.write()
    return card


@pytest.fixture
def slices(cut_card: Card) -> list[str]:
    return [part.uuid for part in cut_card.slices]


@pytest.fixture
def source(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmlSource]:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    source = NvmlSource()
    yield source
    source.close()


@pytest.fixture
def host(lab: Lab, world: World, source: NvmlSource, tmp_path: Path) -> Iterator[Host]:
    with Database.open(f"sqlite:///{tmp_path / 'sluice.db'}") as database:
        yield Host(lab, open_pool(database, lab.engine, source, tmp_path / "gpu.lock"), database)

"""Two worlds of cards: the JSON file of the fake source, and our stand-in for NVIDIA's library with its text file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from contracts.gpu import Gpu
from contracts.seams import GpuSource
from plugins.gpus.fake import FakeSource
from plugins.gpus.nvml import NvmlSource

LIBRARY_SOURCE = Path(__file__).resolve().parents[2] / "fake_nvml" / "fake_nvml.c"
GPU_IS_LOST = 15


def replace_file(path: Path, text: str) -> None:
    """Written aside and renamed, so that no reader sees half of it."""
    aside = path.with_suffix(".aside")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


class FakeWorld:
    """The file of the fake source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cards: Sequence[Gpu] = ()
        self._delay_s = 0.0

    def set_cards(self, cards: Sequence[Gpu]) -> None:
        self._cards = cards
        self._write()

    def set_delay(self, seconds: float) -> None:
        self._delay_s = seconds
        self._write()

    def _write(self) -> None:
        values = [{**asdict(card), "delay_s": self._delay_s} for card in self._cards]
        for value in values:
            del value["index"]
        replace_file(self.path, json.dumps(values))


class NvmlWorld:
    """The file ``world`` beside the stand-in library; its grammar is explained in fake_nvml.c."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "world"
        self._lines: list[str] = []
        self._delay_s = 0.0

    def set_cards(self, cards: Sequence[Gpu]) -> None:
        self.set_lines([line for card in cards for line in _card_lines(card)])

    def set_delay(self, seconds: float) -> None:
        self._delay_s = seconds
        self.set_lines(self._lines)

    def set_lines(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)
        delay = [f"delay nvmlDeviceGetUUID {self._delay_s * 1000:.0f}"] if self._delay_s else []
        replace_file(self.path, "\n".join([*delay, *self._lines, ""]))


def _card_lines(card: Gpu) -> list[str]:
    kinds = ("Compute", "Graphics", "MPSCompute")
    processes = [
        f"process {kinds[place % 3]} {process.pid} {-1 if process.used_bytes is None else process.used_bytes}"
        for place, process in enumerate(card.processes)
    ]
    fail = [f"fail * {GPU_IS_LOST}"] if card.error else []
    return [f"gpu {card.uuid}", f"name {card.name}", f"memory {card.total_bytes} {600 * 1024**2} {card.used_bytes}", *processes, *fail]


@pytest.fixture
def fake_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    world = FakeWorld(tmp_path / "cards.json")
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(world.path))
    world.set_cards([])
    return world


@pytest.fixture
def fake_source(fake_world: FakeWorld) -> GpuSource:
    return FakeSource()


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stand-in as a driver of today and as one from before 510 would have it."""
    folder = tmp_path_factory.mktemp("fake-nvml")
    return {name: _compile(folder / name, defines) for name, defines in {"new": [], "old": ["-DOLD_DRIVER"]}.items()}


def _compile(folder: Path, defines: list[str]) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("no C compiler: install gcc, with which the stand-in for NVIDIA's library is built")
    folder.mkdir()
    library = folder / "libnvidia-ml.so.1"
    flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *flags, *defines, "-o", library, LIBRARY_SOURCE, "-ldl"], check=True)
    return library


@pytest.fixture
def driver() -> str:
    """Which driver the host has; a test that needs another says so with parametrize."""
    return "new"


@pytest.fixture
def nvml_world(libraries: dict[str, Path], driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlWorld:
    folder = tmp_path / "driver"
    folder.mkdir()
    shutil.copy(libraries[driver], folder)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    world = NvmlWorld(folder)
    world.set_cards([])
    return world


@pytest.fixture
def nvml_source(nvml_world: NvmlWorld) -> Iterator[NvmlSource]:
    source = NvmlSource()
    yield source
    source.close()

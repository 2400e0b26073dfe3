"""A Runner whose home has a dataset of two versions with known pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from runner.service import Runner
from runner.settings import load_settings
from tests.analysis.conftest import scene

Box = tuple[str, int, int, int, int]


def write_voc(folder: Path, pictures: Mapping[str, tuple[Image.Image, list[Box] | None]]) -> Path:
    """Pictures by name with boxes (class, x, y, width, height); None: without an annotation file."""
    for name, (picture, boxes) in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        if boxes is not None:
            objects = "".join(
                f"<object><name>{kind}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
                for kind, x, y, w, h in boxes
            )
            size = f"<size><width>{picture.width}</width><height>{picture.height}</height><depth>3</depth></size>"
            path.with_suffix(".xml").write_text(f"<annotation><filename>{path.name}</filename>{size}{objects}</annotation>")
    return folder


def _open(home: Path) -> Runner:
    return Runner.open(load_settings({"home": str(home), "engine": "process", "gpus": "fake"}, environ={}))


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with _open(tmp_path / "home") as runner:
        yield runner


@pytest.fixture(scope="session")
def home_with_cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """V001: a, b, c in train, d (a brighter a) and e (nobody looked) in val. V002: without c, a has one box less, and f is new."""
    folder = tmp_path_factory.mktemp("cells")
    a, b, c, f = (scene(seed) for seed in range(4))
    first = {
        "train/a.png": (a, [("cat", 0, 0, 32, 24), ("dog", 16, 12, 32, 24)]),
        "train/b.png": (b, [("cat", 100, 100, 20, 20)]),
        "train/c.png": (c, []),
        "val/d.png": (ImageEnhance.Brightness(a).enhance(1.1), [("dog", 0, 0, 64, 48)]),
        "val/e.png": (scene(9), None),
    }
    second = {**first, "train/a.png": (a, [("cat", 0, 0, 32, 24)]), "train/f.png": (f, [("cow", 5, 5, 10, 10)])}
    del second["train/c.png"]
    with _open(folder / "home") as runner:
        runner.import_dataset("cells", write_voc(folder / "one", first))
        runner.import_dataset("cells", write_voc(folder / "two", second))
    return folder / "home"


@pytest.fixture
def cells(home_with_cells: Path, tmp_path: Path) -> Iterator[Runner]:
    """A Runner of a home of its own with both versions."""
    shutil.copytree(home_with_cells, tmp_path / "home")
    with _open(tmp_path / "home") as runner:
        yield runner

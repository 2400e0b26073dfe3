"""An empty home with its database and store, and sources to import from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plugins.formats.coco import CocoFormat
from plugins.formats.images import ImagesFormat
from plugins.formats.voc import VocFormat
from plugins.formats.yolo import YoloFormat
from plugins.stores.local import LocalStore
from registry.database import Database
from runner.datasets import import_dataset

FORMATS = {plugin.name: plugin() for plugin in (VocFormat, CocoFormat, YoloFormat, ImagesFormat)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database.open(home / "sluice.db") as database:
        yield database


@pytest.fixture
def store(home: Path) -> LocalStore:
    return LocalStore(home / "assets")


@pytest.fixture
def run_import(home: Path, store: LocalStore, database: Database) -> Callable[..., dict[str, Any]]:
    """``run_import(source, name="cells", **options)``: the report."""

    def run(source: Path, name: str = "cells", **options: Any) -> dict[str, Any]:
        return import_dataset(name, source, **{"formats": FORMATS, "store": store, "database": database, "home": home, **options})

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def make_picture(source: Path) -> Callable[..., Path]:
    """``make_picture("a.jpg", seed=3, size=(100, 80), format="PNG")``: noise, another picture for each seed."""

    def make(name: str, seed: int, size: tuple[int, int] = (100, 80), **options: Any) -> Path:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.RandomState(seed).randint(0, 255, (size[1], size[0], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return make


@pytest.fixture
def write_voc(source: Path) -> Callable[..., Path]:
    """``write_voc("a", ("cat", xmin, ymin, xmax, ymax), ..., size=(100, 80))``."""

    def write(stem: str, *boxes: tuple[str, float, float, float, float], size: tuple[int, int] | None = None) -> Path:
        path = source / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, x1, y1, x2, y2 in boxes
        )
        declared = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
        path.write_text(f"<annotation>{declared}{objects}</annotation>")
        return path

    return write

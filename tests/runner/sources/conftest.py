"""A Runner over an empty home, pictures to put into buckets, and a connection to the server of the tests."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.service import Runner
from runner.settings import load_settings
from tests.s3 import KEY, SECRET


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def open_runner(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Runner]]:
    """``open_runner(setting=value)``."""
    opened: list[Runner] = []

    def make(**overrides: str) -> Runner:
        opened.append(Runner.open(load_settings({"home": str(home), "engine": "process", "gpus": "fake", **overrides})))
        return opened[-1]

    yield make
    for runner in opened:
        runner.close()


@pytest.fixture
def connect() -> Callable[..., dict[str, Any]]:
    """``connect(runner, endpoint, name="team")`` adds a connection to the server."""

    def add(runner: Runner, endpoint: str, name: str = "team", **changes: str) -> dict[str, Any]:
        facts = {"endpoint": endpoint, "region": "us-east-1", "access_key": KEY, "secret": SECRET, "addressing": "path", **changes}
        return runner.add_connection(name, **facts)  # type: ignore[arg-type]

    return add


def png(seed: int) -> bytes:
    """A small picture, another for each seed."""
    pixels = np.random.RandomState(seed).randint(0, 255, (8, 10, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def left_in(home: Path) -> list[Path]:
    """What an import left although it is over: scratch folders, and versions."""
    return [path for part in ("tmp", "datasets") for path in (home / part).rglob("*")]

"""Pictures and label files for the formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

MakePicture = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def make_picture(folder: Path) -> MakePicture:
    """``make_picture("a/b.jpg", (width, height))``: a real picture of one colour below the folder, another colour each time."""
    made: list[Path] = []

    def make(name: str, size: tuple[int, int] = (100, 80)) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.append(path)
        Image.new("RGB", size, (len(made) * 7 % 256, len(made) * 3 % 256, 90)).save(path)
        return path

    return make


@pytest.fixture
def write(folder: Path) -> Callable[[str, str | bytes], Path]:
    def write_file(name: str, content: str | bytes) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file

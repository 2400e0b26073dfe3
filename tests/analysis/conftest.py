"""Pictures that are known in every pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

Save = Callable[..., Path]


def scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A smooth picture with hard edges in it, unlike that of any other seed."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(6):
        x, y = int(random.integers(width - 60)), int(random.integers(height - 60))
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        picture.paste(colour, (x, y, x + int(random.integers(20, 60)), y + int(random.integers(20, 60))))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def put(picture: Image.Image | np.ndarray, name: str, **options: object) -> Path:
        if isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return put

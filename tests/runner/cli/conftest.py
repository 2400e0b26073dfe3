"""What a command line changes in its process is put back after each test."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def logging_put_back() -> Iterator[None]:
    root, rooms = logging.getLogger(), [logging.getLogger(name) for name in ("contracts", "registry", "plugins", "runner")]
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for room in rooms:
        room.setLevel(logging.NOTSET)


@pytest.fixture
def traceback_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks of defects are written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path

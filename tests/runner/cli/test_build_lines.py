"""What a builder says reaches a person without the colours of its terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ImageError
from runner.cli import main
from runner.cli.session import Session


class _Builder:
    def build_image(self, _folder: Path, *, on_output: Callable[[str], None], **_: Any) -> None:
        for line in (" ---> c77ec275d58b", "\x1b[91mWARNING: as root", "\x1b[0m", "\x1b]0;title\x07"):
            on_output(line)
        raise ImageError("the build ended here")


def test_colours_are_left_out_and_other_control_characters_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def open_builder(_session: Session) -> Iterator[_Builder]:
        yield _Builder()

    monkeypatch.setattr(Session, "open_runner", open_builder)
    assert main(["image", "build", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [" ---> c77ec275d58b", "WARNING: as root", "\\x1b]0;title\\x07", "Error: the build ended here"]

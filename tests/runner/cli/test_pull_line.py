"""What a person sees while an image is pulled."""

from __future__ import annotations

import io
import sys

import pytest

from runner.cli.image import PullLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_is_written_over_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    with PullLine() as line:
        for message in ("10.0 of 50.0 MB", "10.0 of 50.0 MB", "9.5 MB"):
            line(message)
    first, second, empty, end = terminal.getvalue().split("\r")[1:]
    assert (first, second, empty, end) == ("10.0 of 50.0 MB", "9.5 MB         ", " " * 6, "")


def test_a_long_word_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    with PullLine() as line:
        line("Pulling from a/very/long/name\n\x1b[2J")
    assert terminal.getvalue().split("\r")[1] == "Pulling from a/very"


def test_in_a_log_file_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with PullLine() as line:
        for number in range(100):
            line(f"{number}.0 of 100.0 MB")
    assert capsys.readouterr().err == "0.0 of 100.0 MB\n"

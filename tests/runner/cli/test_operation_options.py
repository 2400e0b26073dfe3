"""What a person says wrongly to ``sluice dataset filter`` and the others is named, with its value, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli import main
from tests.conformance.main_job import voc_folder


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    assert main(["dataset", "import", "birds", str(voc_folder(tmp_path / "birds", {"train": 2}))]) == 0
    capsys.readouterr()
    return "birds"


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe\x00"])
def test_a_file_of_assets_that_lists_none_or_is_no_text_is_refused(
    birds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "ids").write_bytes(content)
    assert main(["dataset", "filter", birds, "--assets-file", str(tmp_path / "ids"), "--to", "few"]) == 2
    said = capsys.readouterr().err
    assert "--assets-file" in said
    assert str(tmp_path / "ids") in said


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["filter", "--min-width", "abc"], ["min_width", "'abc'"]),
        (["filter", "--state", "odd"], ["states.0", "'odd'", "to_be_confirmed"]),
        (["mark", "--where", "true", "--coefficient", "nan"], ["coefficient", "'nan'"]),
        (["draw", "--count", "2", "--fraction", "0.5"], ["give either count or fraction", "sluice dataset draw --help"]),
        (["filter", "--tag", "x"], ["'--tag'", "'x' is not NAME=VALUE"]),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_option(
    birds: str, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    assert main(["dataset", words[0], birds, *words[1:]]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in parts), said


def test_a_split_that_is_given_two_shares_is_refused(birds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "split", birds, "train=0.8", "train=0.1"]) == 2
    assert "'train' is given twice, as '0.8' and '0.1'" in capsys.readouterr().err


def test_a_pipe_is_refused_as_a_source(birds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["dataset", "import", birds, str(tmp_path / "pipe")]) == 2
    assert f"{tmp_path / 'pipe'} is a device, a pipe or a socket" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{"classes": {"ca', "[]", None])
def test_a_report_that_was_changed_from_outside_is_named(
    birds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    report = tmp_path / "home" / "datasets" / birds / "V001" / "report.json"
    report.unlink()
    if content is not None:
        report.write_text(content)
    assert main(["dataset", "show", birds]) == 2
    said = capsys.readouterr().err
    assert str(report) in said
    assert "Put it back from a copy" in said

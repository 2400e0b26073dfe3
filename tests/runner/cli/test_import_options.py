"""``sluice dataset import`` hands its options on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from tests.conformance.main_job import voc_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _import(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main(["dataset", "import", "birds", str(folder), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def test_unknown_classes_and_adding_are_asked_for_on_the_command_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = voc_folder(tmp_path / "birds", {"train": 4})
    assert _import(capsys, folder)[1]["images"] == 4
    label = next(folder.rglob("*.xml"))
    label.write_text(label.read_text().replace("<name>", "<name>un"))
    code, answer = _import(capsys, folder, "--unknown-classes", "stop")
    assert (code, answer["error"]["code"]) == (2, "dataset")
    next(folder.rglob("*.xml")).unlink()
    code, answer = _import(capsys, folder, "--add", "--verify", "--unknown-classes", "ignore")
    assert (code, answer["images"], answer["unchanged"]) == (0, 4, True)


def test_another_word_for_unknown_classes_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dataset", "import", "birds", str(tmp_path), "--unknown-classes", "drop"]) == 2
    assert "'add', 'ignore', 'stop'" in capsys.readouterr().err

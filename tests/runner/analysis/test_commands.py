"""``sluice dataset analyse|compare|duplicates|analyses`` as people and programs call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli import main
from runner.service import Runner

Command = Callable[..., str]


@pytest.fixture
def sluice(cells: Runner, capsys: pytest.CaptureFixture[str]) -> Command:
    """``sluice("dataset", ..., exit_code=0)``: what it printed."""

    def run(*arguments: str, exit_code: int = 0) -> str:
        ended = main([*arguments, "--home", str(cells._installation.home), "--engine", "process"])
        printed = capsys.readouterr()
        assert ended == exit_code, printed.err
        return printed.out if not exit_code else printed.err

    return run


def test_a_person_sees_features_classes_and_where_the_page_lies(sluice: Command, tmp_path: Path) -> None:
    said = sluice("dataset", "analyse", "cells@V001:train", "--out", str(tmp_path / "out"))
    assert str(tmp_path / "out" / "report.html") in said
    assert (tmp_path / "out" / "report.html").exists()
    assert "image_brightness" in said
    assert "cells@V001:train" in said


def test_a_program_gets_the_document_of_the_runner(sluice: Command, cells: Runner) -> None:
    made = json.loads(sluice("dataset", "analyse", "cells", "--feature", "brightness", "--json"))
    assert made == cells.get_analysis(made["id"])
    assert made["features"] == ["image_brightness"]
    listed = json.loads(sluice("dataset", "analyses", "cells", "--json"))
    assert listed == cells.list_analyses("cells")


def test_a_comparison_says_what_came_and_went(sluice: Command) -> None:
    said = sluice("dataset", "compare", "cells@V001", "cells@V002")
    assert "pictures +1 -1, 1 with other annotations, 0 in another split; annotations +1 -1" in said
    assert "moved most: " in said


def test_duplicates_say_which_would_stay(sluice: Command) -> None:
    said = " ".join(sluice("dataset", "duplicates", "cells@V001").split())
    assert "1 of 2 images; 1 would go" in said
    assert "train/a.png:train val/d.png:val" in said


def test_the_history_is_listed(sluice: Command) -> None:
    assert "No analyses." in sluice("dataset", "analyses")
    sluice("dataset", "analyse", "cells", "--labels-only")
    assert "cells@V002" in sluice("dataset", "analyses")


def test_what_cannot_be_is_refused_with_what_to_do(sluice: Command) -> None:
    assert "known: image_resolution" in sluice("dataset", "analyse", "cells", "--feature", "beauty", exit_code=2)
    assert "it must be 2 to 6" in sluice("dataset", "compare", "cells", exit_code=2)
    sluice("dataset", "duplicates", "cells", "--similarity", "0.2", exit_code=2)
    sluice("dataset", "analyse", "nothing", exit_code=3)


def test_files_are_not_replaced_unasked(sluice: Command, tmp_path: Path) -> None:
    sluice("dataset", "analyse", "cells", "--labels-only", "--out", str(tmp_path / "out"))
    assert "exists" in sluice("dataset", "analyse", "cells", "--labels-only", "--out", str(tmp_path / "out"), exit_code=2)
    sluice("dataset", "analyse", "cells", "--labels-only", "--out", str(tmp_path / "out"), "--overwrite")

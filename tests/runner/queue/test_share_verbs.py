"""``sluice share``: what is set is listed, by the Runner and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import RequestError
from registry import shares
from runner.cli import main
from runner.installation import Installation
from runner.settings import load_settings
from runner.share_verbs import ShareVerbs


class Verbs(ShareVerbs):
    def __init__(self, installation: Installation) -> None:
        self._installation = installation


@pytest.fixture
def verbs(tmp_path: Path) -> Iterator[Verbs]:
    installation = Installation(load_settings({"home": str(tmp_path / "home")}, {}))
    yield Verbs(installation)
    installation.close()


def test_nobody_has_a_share_at_first(verbs: Verbs) -> None:
    assert verbs.list_shares() == []


def test_a_share_is_listed_as_it_was_set(verbs: Verbs) -> None:
    changed = verbs.set_share("user", "ana", weight=2.0, max_gpus=4)
    assert changed == {"kind": "user", "name": "ana", "weight": 2.0, "max_gpus": 4, "max_jobs": None, "usage_gpu_s": 0.0}
    assert verbs.list_shares() == [changed]


def test_use_is_listed_as_it_counts_now(verbs: Verbs) -> None:
    installation = verbs._installation
    a_half_life_ago = datetime.now(timezone.utc) - timedelta(seconds=installation.settings.share_half_life_s)
    with installation.database.writing() as session:
        shares.charge(session, {("user", "ana"): 7200.0}, a_half_life_ago, installation.settings.share_half_life_s)
    [ana] = verbs.list_shares()
    assert ana["usage_gpu_s"] == pytest.approx(3600.0, rel=1e-3)


def test_an_impossible_share_changes_nothing(verbs: Verbs) -> None:
    with pytest.raises(RequestError):
        verbs.set_share("user", "ana", weight=0.0, max_gpus=1)
    assert verbs.list_shares() == []


def sluice(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, Any]:
    status = main(["share", *arguments, "--home", str(home), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_the_command_line_sets_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sluice(capsys, tmp_path, "set", "project", "p", "--weight", "2", "--max-jobs", "3")[0] == 0
    status, changed = sluice(capsys, tmp_path, "set", "project", "p", "--max-jobs", "none")
    assert (status, changed["weight"], changed["max_jobs"]) == (0, 2.0, None)
    assert sluice(capsys, tmp_path, "list") == (0, [changed])


@pytest.mark.parametrize(
    "arguments", [("set", "user", "ana"), ("set", "user", "ana", "--max-gpus", "-1"), ("set", "team", "x", "--weight", "1")]
)
def test_a_share_that_says_nothing_or_nonsense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, answer = sluice(capsys, tmp_path, *arguments)
    assert (status, "error" in answer) == (2, True)


def test_people_get_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["share", "set", "user", "ana", "--weight", "1.5", "--max-gpus", "4", "--home", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["kind", "name", "weight", "max", "GPUs", "max", "jobs", "GPU", "hours"], ["user", "ana", "1.5", "4", "0.0"]]

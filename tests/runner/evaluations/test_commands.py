"""The commands, over a real home."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from runner.cli import main
from tests.runner.evaluations.conftest import World, box

Sluice = Callable[..., str]


@pytest.fixture
def sluice(world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Sluice]:
    """Runs a command on the home of the test; what it printed on stdout."""
    monkeypatch.setenv("SLUICE_HOME", str(world.home))
    monkeypatch.setenv("SLUICE_ENGINE", "process")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*arguments: str, code: int = 0) -> str:
        capfd.readouterr()
        status = main(arguments)
        printed = capfd.readouterr()
        assert status == code, printed
        return printed.out

    yield run
    root.handlers[:], root.level = handlers, level


def test_an_evaluation_is_shown_listed_and_compared(world: World, sluice: Sluice) -> None:
    world.predict("i2", {"a.jpg": [box("cat", 10, 0.9), box("owl", 10, 0.9)]}, model="second")
    shown = sluice("evaluate", "i1", "i2")
    assert "3 evaluated of 3 labelled" in shown
    assert "1 left out" in shown
    assert "owl (1 left out)" in shown
    assert "first@best (i1)" in shown
    made = json.loads(sluice("evaluate", "i1", "i2", "--json"))
    assert made == world.runner.evaluate(["i1", "i2"]) == json.loads(sluice("evaluation", "show", made["id"], "--json"))
    assert "tp / (tp + fp)" in sluice("evaluation", "show", made["id"], "--definitions")
    assert sluice("evaluation", "list").count(made["id"]) == 2
    assert json.loads(sluice("evaluation", "list", "--json")) == world.runner.list_evaluations()
    assert "AP of class" in sluice("evaluation", "compare", made["id"])
    assert json.loads(sluice("evaluation", "compare", made["id"], "--json")) == world.runner.compare_evaluations([made["id"]])


def test_counts_are_whole_and_shares_have_four_digits(sluice: Sluice) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in sluice("evaluate", "i1").splitlines() if len(line.split()) == 2}
    assert (rows["tp"], rows["fp"], rows["fn"], rows["recall"]) == (["2"], ["1"], ["1"], ["0.6667"])


def test_what_cannot_be_is_refused_with_what_to_do(sluice: Sluice) -> None:
    error = json.loads(sluice("evaluate", "i1", "--by", "season", "--json", code=2))["error"]
    assert (error["code"], error["hint"]) == ("request", "Known: pose.")
    assert json.loads(sluice("evaluation", "show", "e9", "--json", code=3))["error"]["code"] == "not_found"
    sluice("evaluate", "i1", "--iou", "0", code=2)
    assert "No evaluations" in sluice("evaluation", "list")

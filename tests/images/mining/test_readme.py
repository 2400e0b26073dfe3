"""The README of the mining core says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import mining
import numpy as np
import pytest
from mining import STRATEGIES
from mining.finishing import SHARED
from mining.strategy import Strategy

PACKAGE = Path(mining.__file__).parent
README = (PACKAGE / "README.md").read_text()


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines[:3]] == ["a.jpg", "c.jpg", "b.jpg"]
    assert "its boxes are unsure" in lines[0]
    assert "nothing was found" in lines[1]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=list(STRATEGIES))
def test_the_table_names_each_strategy_with_its_needs(strategy: Strategy) -> None:
    (row,) = re.findall(rf"^\| `{strategy.name}` \|([^|]*)\|([^|]*)\|", README, re.MULTILINE)
    kinds, needs = (cell.strip() for cell in row)
    assert kinds == ("both" if len(strategy.kinds) == 2 else strategy.kinds[0])
    assert set(re.split(r"[,;] ", needs.replace("detection: ", ""))) - {""} == set().union(
        *(strategy.needs_of(kind) for kind in strategy.kinds)
    ) - ({"predictions"} if strategy.name == "badge" else set())


def test_the_parameters_of_all_are_named() -> None:
    assert all(f"`{name}`" in README for name in SHARED)


def test_every_parameter_and_strategy_is_explained() -> None:
    for strategy in STRATEGIES.values():
        assert strategy.source
        assert (type(strategy).__doc__ or "").strip()
        assert all(
            parameter.help and parameter.check(name, parameter.default) == parameter.default
            for name, parameter in strategy.parameters.items()
        )
    assert [name for name, strategy in STRATEGIES.items() if not strategy.for_use] == ["anti"]


def test_the_package_needs_nothing_but_numpy() -> None:
    """A Python without site-packages but numpy's imports it."""
    numpy = Path(np.__file__).parent.parent
    program = (
        "import sys; import mining; "
        "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'mining', 'numpy', '__main__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": f"{PACKAGE.parent}:{numpy}"}, capture_output=True, text=True, check=True
    )
    assert all(name.startswith("_") for name in eval(done.stdout)), done.stdout


def test_the_costs_are_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mining.cost", "200", "8", "5"],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("200 candidates, 8 numbers each, budget 5\nrandom")
    assert len(done.stdout.splitlines()) == 7

"""How long ``sluice --help`` takes beside a click program with one empty command, in the same environment."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Row, compare, cost_of_command, rows_of

GOAL = 1.5
_EMPTY = """\
import click

@click.group()
def main(): '''An empty program.'''

@main.command()
def nothing(): '''Does nothing.'''

main()
"""


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    sluice = [sys.executable, Path(sys.executable).with_name("sluice"), "--help"]
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        empty = Path(folder, "empty.py")
        empty.write_text(_EMPTY, encoding="utf-8")
        ours, floor = compare(
            lambda: cost_of_command(sluice), lambda: cost_of_command([sys.executable, empty, "--help"]), 2 if quick else 25
        )
    return rows_of("sluice --help", ours, floor, goal=GOAL)

"""``python -m benchmarks NAME [--json] [--quick]``: a table for people, or one JSON document."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, machine


def main() -> None:
    arguments = _arguments()
    rows: list[Row] = importlib.import_module(f"benchmarks.{arguments.name}").run(quick=arguments.quick)
    document = {"name": arguments.name, "rows": [row.to_dict() for row in rows], "machine": machine()}
    print(json.dumps(document, indent=2)) if arguments.json else _show(document)


def names() -> list[str]:
    """Every benchmark: the modules and packages beside this one that are not part of the frame."""
    here = Path(__file__).parent
    found = [*here.glob("*.py"), *(file.parent for file in here.glob("*/__init__.py"))]
    return sorted(path.stem for path in found if path.stem not in ("__init__", "__main__", "measure", "simulation", "images"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition(":")[2])
    parser.add_argument("name", choices=names())
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="measure just enough to see that it works")
    return parser.parse_args()


def _show(document: dict[str, Any]) -> None:
    table = Table("case", "ours", "floor", "unit", "ratio", "goal", "met", *_peer_names(document), title=document["name"])
    for row in document["rows"]:
        peers = [f"{row['peers'].get(name, float('nan')):.4g}" for name in _peer_names(document)]
        met = {True: "yes", False: "NO", None: ""}[row["met"]]
        goal = "" if row["goal"] is None else f"≤ {row['goal']:g}"
        table.add_row(row["case"], f"{row['ours']:.4g}", f"{row['floor']:.4g}", row["unit"], f"{row['ratio']:.2f}", goal, met, *peers)
    console = Console(width=None if sys.stdout.isatty() else 180)  # a log file has room for whole words
    console.print(table)
    console.print("  ".join(f"{key} {value}" for key, value in document["machine"].items()), style="dim")


def _peer_names(document: dict[str, Any]) -> list[str]:
    return sorted({name for row in document["rows"] for name in row["peers"]})


if __name__ == "__main__":
    main()

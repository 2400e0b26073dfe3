"""``python -m benchmarks NAME [--json] [--quick]``: a table for people, or one JSON document.

A benchmark is a module with ``run(quick=...)``, which gives rows of ours beside a floor, or with ``sheets(arguments, quick=...)``, which gives
tables of its own and reads arguments of its own; such modules may lie in a package: ``mining.curves``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, Sheet, machine

#: Packages whose modules are benchmarks, those that have ``sheets``.
_PACKAGES = ("mining",)


def main() -> None:
    arguments, more = _arguments()
    module = importlib.import_module(f"benchmarks.{arguments.name}")
    if hasattr(module, "sheets"):
        sheets: list[Sheet] = module.sheets(more, quick=arguments.quick)
        document = {"name": arguments.name, "sheets": [sheet.to_dict() for sheet in sheets], "machine": machine()}
        print(json.dumps(document, indent=2)) if arguments.json else _show_sheets(sheets, document)
        return
    rows: list[Row] = module.run(quick=arguments.quick)
    document = {"name": arguments.name, "rows": [row.to_dict() for row in rows], "machine": machine()}
    print(json.dumps(document, indent=2)) if arguments.json else _show(document)


def names() -> list[str]:
    """Every benchmark: the modules and packages beside this one that are not part of the frame."""
    here = Path(__file__).parent
    found = [*here.glob("*.py"), *(file.parent for file in here.glob("*/__init__.py"))]
    single = [path.stem for path in found if path.stem not in ("__init__", "__main__", "measure", "simulation", "images", *_PACKAGES)]
    inside = [file for package in _PACKAGES for file in (here / package).glob("*.py")]
    return sorted([*single, *(f"{file.parent.name}.{file.stem}" for file in inside if "\ndef sheets(" in file.read_text(encoding="utf-8"))])


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition(":")[2].partition("\n")[0])
    parser.add_argument("name", choices=names())
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="measure just enough to see that it works")
    arguments, more = parser.parse_known_args()
    if more and "." not in arguments.name:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return arguments, more


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


def _show_sheets(sheets: list[Sheet], document: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 240)
    for sheet in sheets:
        table = Table(*sheet.columns, title=sheet.title)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        for note in sheet.notes:
            console.print(note, highlight=False)
    console.print("  ".join(f"{key} {value}" for key, value in document["machine"].items()), style="dim")


def _peer_names(document: dict[str, Any]) -> list[str]:
    return sorted({name for row in document["rows"] for name in row["peers"]})


if __name__ == "__main__":
    main()

"""The runs of a job in words: each with what was changed, and several side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.cli.blocks import Block, Line, Table, numbers
from runner.cli.job_blocks import name_text, state_text
from runner.cli.units import metric_text, time_text

_SHOWN_CHANGES = 20


def version_blocks(shown: Mapping[str, Any]) -> list[Block]:
    """``sluice job versions``."""
    names = list(dict.fromkeys(name for run in shown["versions"] for name in run["metrics"]))
    rows = [
        (
            run["version"],
            run["id"],
            run["kind"],
            state_text(run),
            *(metric_text(run["metrics"].get(name)) for name in names),
            run["result"],
            changes_text(run["changes"]),
            time_text(run["created_at"]),
        )
        for run in shown["versions"]
    ]
    columns = ("version", "job", "kind", "state", *names, "left", "changed", "created")
    return [Table(columns, rows, numbers(*names))]


def changes_text(changes: list[Mapping[str, Any]]) -> str:
    """One line for each change against the run before; a value that it did not have is left out."""
    lines = [f"{change['name']}: {value_text(change['before'])} -> {value_text(change['after'])}" for change in changes[:_SHOWN_CHANGES]]
    more = len(changes) - _SHOWN_CHANGES
    return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def comparison_blocks(compared: Mapping[str, Any], everything: bool) -> list[Block]:
    """``sluice job compare``: a column for each job; rows that differ are marked with ``*``."""
    jobs = compared["jobs"]
    columns = ("", *(name_text(job) or job["id"] for job in jobs), " ")
    blocks: list[Block] = []
    for section in dict.fromkeys(row["section"] for row in compared["rows"]):
        rows = [
            (row["name"], *(value_text(value) for value in row["values"]), "*" if row["differs"] else "")
            for row in compared["rows"]
            if row["section"] == section and (everything or row["differs"] or section == "metrics")
        ]
        if rows:
            blocks += [*([Line()] if blocks else []), Line(section, "bold"), Table(columns, rows, indent=2)]
    return blocks or [Line("They do not differ.")]


def value_text(value: Any) -> str:
    """As it stands in a table; '' for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""``sluice dataset``: import, sample and show datasets; ``dataset_analysis`` has the commands that look into them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from runner.cli.blocks import Block, Facts, Line, Table, numbers, object_type_label
from runner.cli.commands import Group
from runner.cli.dataset_analysis import COMMANDS
from runner.cli.options import EXISTING_PATH
from runner.cli.session import Session, pass_session
from runner.cli.units import time_text

_SHOWN_SKIPS = 10
_SHOWN_CLASSES = 50


@click.group(cls=Group)
def dataset() -> None:
    """Import, sample, show and analyse datasets."""


@dataset.command("import")
@click.argument("name")
@click.argument("path", type=EXISTING_PATH)
@click.option(
    "--format", "format_", metavar="FORMAT", help="How the source is laid out: voc, coco, yolo or images (default: seen from the files)."
)
@click.option(
    "--split", default="", metavar="SPLIT", help="Put every image into this split: train, val, test or pool (default: as the source says)."
)
@pass_session
def import_(session: Session, name: str, path: Path, format_: str | None, split: str) -> None:
    """Import a folder or zip as a new version of a dataset.

    Nothing is written into the source. The report names everything that was skipped, and why.
    """
    from runner.cli.following import ImportDisplay

    session.say_place(path, "read")
    with session.open_runner() as runner, ImportDisplay() as display:
        report = runner.import_dataset(name, path, format=format_, split=split, on_progress=display)
    _answer_report(session, report)


@dataset.command()
@click.argument("kind", metavar="digits", type=click.Choice(["digits"]))
@click.option("--name", metavar="NAME", help="The dataset's name (default: the kind's).")
@click.option("--train", type=click.IntRange(min=0), default=300, show_default=True, metavar="N", help="Scenes to learn from.")
@click.option("--val", type=click.IntRange(min=0), default=60, show_default=True, metavar="N", help="Scenes to measure on.")
@click.option("--test", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Scenes kept for a last measurement.")
@click.option("--pool", type=click.IntRange(min=0), default=200, show_default=True, metavar="N", help="Scenes without labels, to mine.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="The same seed gives the same scenes.")
@pass_session
def sample(session: Session, /, kind: str, name: str | None, **request: int) -> None:
    """Make a dataset to try things with: detection scenes of handwritten digits."""
    from runner.cli.following import ImportDisplay

    with session.open_runner() as runner, ImportDisplay() as display:
        report = runner.sample_dataset(kind, name or kind, on_progress=display, **request)
    _answer_report(session, report)


@dataset.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the datasets."""
    with session.open_runner() as runner:
        datasets = runner.list_datasets()
    session.answer(datasets, list_blocks)
    if not datasets:
        session.hint("sluice dataset import NAME FOLDER", "sluice dataset sample digits")


@dataset.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@pass_session
def show(session: Session, reference: str) -> None:
    """Show a dataset version: what is in it, and what its import skipped."""
    with session.open_runner() as runner:
        shown = runner.get_dataset(reference)
    session.answer(shown, show_blocks)


for _command in COMMANDS:
    dataset.add_command(_command)


def list_blocks(datasets: list[Mapping[str, Any]]) -> list[Block]:
    """One line per dataset: its newest version."""
    if not datasets:
        return [Line("No datasets.")]
    rows = [
        (
            d["name"],
            d["version"],
            d["images"],
            d["annotations"],
            len(d["classes"]),
            counts_text(d["splits"]),
            time_text(d["created_at"]),
        )
        for d in datasets
    ]
    columns = ("dataset", "version", "images", "annotations", "classes", "splits", "created")
    return [Table(columns, rows, numbers("images", "annotations", "classes"))]


def show_blocks(shown: Mapping[str, Any]) -> list[Block]:
    """One dataset version with the report of its import."""
    facts = Facts(
        [
            ("dataset", f"{shown['name']}@{shown['version']}"),
            ("versions", ", ".join(shown["versions"]) if len(shown["versions"]) > 1 else ""),
            ("object type", object_type_label(shown["object_type"])),
            *count_facts(shown),
            ("created", time_text(shown["created_at"])),
            ("source", shown["source"]),
            ("folder", shown["folder"]),
        ]
    )
    return [facts, *class_blocks(shown["report"].get("classes") or {}), *skip_blocks(shown["report"])]


def report_blocks(report: Mapping[str, Any]) -> list[Block]:
    """What an import found: totals, splits, classes, and the first of what it skipped or mended."""
    facts = Facts(
        [
            ("dataset", f"{report['dataset']}@{report['version']}{'  (unchanged)' if report['unchanged'] else ''}"),
            ("format", f"{report['format']} ({report['detected']})"),
            *count_facts(report),
            ("without labels", report["unlabeled"] or ""),
            ("report", report["report_file"]),
        ]
    )
    return [facts, *class_blocks(report["classes"]), *skip_blocks(report)]


def count_facts(counts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Totals and splits, as both a report and a dataset have them."""
    return [("images", str(counts["images"])), ("annotations", str(counts["annotations"])), ("splits", counts_text(counts["splits"]))]


def counts_text(counts: Mapping[str, int]) -> str:
    """``train 300, val 60``; assets in no split are called unsplit."""
    return ", ".join(f"{name or 'unsplit'} {count}" for name, count in counts.items())


def class_blocks(classes: Mapping[str, int]) -> list[Block]:
    """The classes with their annotations, most frequent first."""
    if not classes:
        return []
    ordered = sorted(classes.items(), key=lambda item: (-item[1], item[0]))
    more = len(ordered) - _SHOWN_CLASSES
    table = Table(("class", "annotations"), ordered[:_SHOWN_CLASSES], numbers("annotations"))
    return [Line(), table, *([Line(f"… and {more} more classes", "dim")] if more > 0 else [])]


def skip_blocks(report: Mapping[str, Any]) -> list[Block]:
    """What was left out and what was mended, the first ten of each."""
    blocks: list[Block] = []
    for key in ("skipped", "mended"):
        entries = report.get(key) or []
        if entries:
            blocks += [Line(), Line(f"{key}: {len(entries)}", "yellow"), _skip_table(key, entries[:_SHOWN_SKIPS])]
        if len(entries) > _SHOWN_SKIPS:
            blocks.append(Line(f"… and {len(entries) - _SHOWN_SKIPS} more in {report.get('report_file', 'the report')}", "dim", indent=2))
    return blocks


def _skip_table(key: str, entries: list[Mapping[str, Any]]) -> Table:
    if key == "mended":
        return Table(("where", "why"), [(entry["place"], entry["reason"]) for entry in entries], indent=2)
    return Table(("what", "where", "why"), [(entry["what"], entry["place"], entry["reason"]) for entry in entries], indent=2)


def _answer_report(session: Session, report: Mapping[str, Any]) -> None:
    session.answer(report, report_blocks)
    session.hint(f"sluice train IMAGE --data {report['dataset']}")

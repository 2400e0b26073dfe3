"""``sluice dataset``: import, show, change and export datasets; ``dataset_analysis`` has the commands that look into them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from runner.cli.blocks import Block, Facts, Line, Table, numbers, object_type_label
from runner.cli.commands import Group, first_line
from runner.cli.dataset_analysis import COMMANDS
from runner.cli.options import NEW_PLACE, PATH_OR_ADDRESS
from runner.cli.session import Session, pass_session
from runner.cli.units import size_text, time_text

_SHOWN_SKIPS = 10
_SHOWN_CLASSES = 50


#: Commands of ``runner.cli.dataset_operations``, which is only imported when one is used.
OPERATIONS = (
    "filter", "draw", "exclude", "merge", "split", "deduplicate", "group", "thin", "top", "label-from", "confirm", "reject", "unlabel",
    "mark", "tag", "rename-class", "merge-classes", "remove-classes",
)  # fmt: skip


class _DatasetGroup(Group):
    """The commands below, and one for each operation."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*super().list_commands(context), *OPERATIONS]

    def get_command(self, context: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in OPERATIONS:
            return super().get_command(context, cmd_name)
        from runner.cli.dataset_operations import operation_command

        return operation_command(cmd_name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        parts = {"Commands": list(self.commands), "Operations, each of which makes a new version": OPERATIONS}
        for title, names in parts.items():
            with formatter.section(title):
                formatter.write_dl([(name, first_line(command)) for name in names if (command := self.get_command(context, name))])


@click.group(cls=_DatasetGroup)
def dataset() -> None:
    """Import, show and change datasets."""


@dataset.command("import")
@click.argument("name")
@click.argument("path", metavar="SOURCE", type=PATH_OR_ADDRESS)
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    help="How the source is laid out, such as voc, coco, yolo, manifest or ymir (default: seen from the files).",
)
@click.option(
    "--split", default="", metavar="SPLIT", help="Put every image into this split: train, val, test or pool (default: as the source says)."
)
@click.option("--connection", default="", metavar="NAME", help="How s3:// and obs:// are reached (default: the one of the bucket).")
@click.option(
    "--unknown-classes",
    type=click.Choice(["add", "ignore", "stop"]),
    default="add",
    show_default=True,
    help="Annotations of classes that the dataset does not know: take the classes up, leave them out, or import nothing.",
)
@click.option(
    "--class",
    "class_names",
    multiple=True,
    metavar="NAME",
    help="Only annotations of this class, and only images that have any; may be repeated.",
)
@click.option("--hard-only", is_flag=True, help="Only images that are marked as hard.")
@click.option("--add", is_flag=True, help="Keep what the current version has and add what is new in the source.")
@click.option("--verify", is_flag=True, help="Decode every picture, which finds more of the damaged ones and takes longer.")
@pass_session
def import_(session: Session, /, name: str, path: Path | str, format_: str | None, split: str, **rules: Any) -> None:
    """Import a folder, an archive, a prefix of a bucket or an archive of a web server as a new version of a dataset.

    Nothing is written into the source. The report names everything that was skipped, and why.

    \b
      sluice dataset import scenes FOLDER
      sluice dataset import scenes s3://bucket/prefix --connection NAME
      sluice dataset import scenes https://host/scenes.zip
    """
    from runner.cli.following import ImportDisplay

    if isinstance(path, Path):
        session.say_place(path, "read")
    with session.open_runner() as runner, ImportDisplay() as display:
        report = runner.import_dataset(name, path, format=format_, split=split, on_progress=display, **rules)
    _answer_report(session, report)


@dataset.command()
@click.argument("kind", metavar="digits|digit-classes", type=click.Choice(["digits", "digit-classes"]))
@click.option("--name", metavar="NAME", help="The dataset's name (default: the kind's).")
@click.option("--train", type=click.IntRange(min=0), default=300, show_default=True, metavar="N", help="Pictures to learn from.")
@click.option("--val", type=click.IntRange(min=0), default=60, show_default=True, metavar="N", help="Pictures to measure on.")
@click.option("--test", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Pictures kept for a last measurement.")
@click.option("--pool", type=click.IntRange(min=0), default=200, show_default=True, metavar="N", help="Pictures without labels, to mine.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="The same seed gives the same pictures.")
@pass_session
def sample(session: Session, /, kind: str, name: str | None, **request: int) -> None:
    """Make a dataset to try things with: scenes of handwritten digits with boxes, or single digits with a label each."""
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


@dataset.command()
@click.argument("name")
@pass_session
def versions(session: Session, name: str) -> None:
    """List the versions of a dataset: where each comes from, and what changed."""
    with session.open_runner() as runner:
        listed = runner.list_dataset_versions(name)
    session.answer(listed, version_blocks)


@dataset.command()
@click.argument("reference", metavar="NAME@VERSION")
@pass_session
def use(session: Session, reference: str) -> None:
    """Let the dataset's name alone mean this version, until a new one is made."""
    with session.open_runner() as runner:
        shown = runner.set_current_version(reference)
    session.answer(shown, lambda version: [Line(f"{version['name']} now means {version['name']}@{version['version']}.")])


@dataset.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@pass_session
def remove(session: Session, reference: str) -> None:
    """Forget a dataset, or one of its versions. Images and labels stay until `sluice gc`."""
    with session.open_runner() as runner:
        removed = runner.remove_dataset(reference)
    session.answer(removed, lambda answer: [Line(f"Removed {', '.join(answer['removed'])}.")])


@dataset.command()
@click.argument("name")
@click.argument("class_name", metavar="[CLASS]", required=False)
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name that means this class, in imports and requests.")
@click.option("--color", metavar="#RRGGBB", help="The colour in which it is drawn.")
@pass_session
def classes(session: Session, name: str, class_name: str | None, aliases: tuple[str, ...], color: str | None) -> None:
    """List the classes of a dataset with their aliases, or say more of one."""
    with session.open_runner() as runner:
        known = (
            runner.set_dataset_class(name, class_name, aliases=aliases, color=color) if class_name else runner.list_dataset_classes(name)
        )
    session.answer(known, known_class_blocks)


@dataset.command()
@click.argument("reference", metavar="NAME[@VERSION][:SPLIT]")
@click.argument("target", metavar="FOLDER", type=NEW_PLACE)
@click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    required=True,
    help="How to write it: coco, yolo, voc, csv, cvat, label-studio, manifest, ymir, ark, inference-results, class-folders, class-text.",
)
@click.option("--hard", is_flag=True, help="With the marks of hard examples.")
@click.option("--links", is_flag=True, help="Hard links to the store instead of copies of the images, which must not be changed then.")
@click.option("--no-images", is_flag=True, help="The annotations alone.")
@click.option(
    "--predictions",
    default="",
    metavar="JOB",
    help="With what an inference job found, or an import (import-...): instead of the labels where the format has no place for both.",
)
@pass_session
def export(session: Session, /, reference: str, target: Path, format_: str, links: bool, no_images: bool, **how: Any) -> None:
    """Write a dataset version, or one split of it, for other tools to read.

    FOLDER is a new or empty folder, or a new .zip file. It appears whole or not at all. The report names what the format cannot hold.
    """
    from runner.cli.following import ImportDisplay

    session.say_place(target, "written")
    with session.open_runner() as runner, ImportDisplay("exporting") as display:
        exported = runner.export_dataset(reference, target, format=format_, link=links, pictures=not no_images, on_progress=display, **how)
    session.answer(exported, export_blocks)


def version_blocks(listed: list[Mapping[str, Any]]) -> list[Block]:
    """One line per version, newest first."""
    rows = [
        (
            f"{v['version']}{' *' if v['current'] else ''}",
            v["images"],
            v["annotations"],
            changes_text(v["changes"]),
            ", ".join(v["inputs"]),
            v["source"],
            time_text(v["created_at"]),
        )
        for v in listed
    ]
    return [Table(("version", "images", "annotations", "changes", "made of", "source", "created"), rows, numbers("images", "annotations"))]


def known_class_blocks(known: list[Mapping[str, Any]]) -> list[Block]:
    """One line per class."""
    if not known:
        return [Line("No classes.")]
    rows = [(c["name"], ", ".join(c["aliases"]), ", ".join(f"{key} {value}" for key, value in c["attributes"].items())) for c in known]
    return [Table(("class", "aliases", "attributes"), rows)]


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
            ("current", "" if shown["current"] else "no: the name alone means another version"),
            ("created", time_text(shown["created_at"])),
            ("source", shown["source"]),
            ("made of", ", ".join(shown["inputs"])),
            ("changes", changes_text(shown["changes"])),
            ("folder", shown["folder"]),
        ]
    )
    return [facts, *class_blocks(shown["report"].get("classes") or {}), *skip_blocks(shown["report"])]


def report_blocks(report: Mapping[str, Any]) -> list[Block]:
    """What an import found: totals, splits, classes, and the first of what it skipped or mended."""
    facts = Facts(
        [
            ("dataset", f"{report['dataset']}@{report['version']}{'  (unchanged)' if report['unchanged'] else ''}"),
            ("format", f"{report['format']} ({report['detected']})" if report["format"] else ""),
            *count_facts(report),
            ("made of", ", ".join(report["inputs"])),
            ("changes", changes_text(report["changes"])),
            ("predictions", report.get("predictions", "")),
            ("report", report["report_file"]),
        ]
    )
    return [facts, *class_blocks(report["classes"]), *skip_blocks(report)]


def export_blocks(exported: Mapping[str, Any]) -> list[Block]:
    """What was written, and what the format could not hold."""
    facts = Facts(
        [
            ("dataset", f"{exported['dataset']}@{exported['version']}{':' if exported['split'] else ''}{exported['split']}"),
            ("format", exported["format"]),
            ("written to", exported["target"]),
            *count_facts(exported),
            ("predictions", f"{exported['predictions']}, of {exported['predicted']} images" if exported["predictions"] else ""),
            ("files", f"{exported['files']}, {size_text(exported['size_bytes'])}"),
        ]
    )
    warnings = [Line(f"{warning['message']}.", "yellow") for warning in exported["warnings"]]
    return [facts, *([Line(), *warnings] if warnings else [])]


def count_facts(counts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Totals and splits, as both a report and a dataset have them."""
    return [
        ("images", str(counts["images"])),
        ("annotations", str(counts["annotations"])),
        ("splits", counts_text(counts["splits"])),
        ("states", counts_text({name.replace("_", " "): count for name, count in counts.get("states", {}).items()})),
        ("hard", counts.get("hard") or ""),
    ]


def changes_text(changes: Mapping[str, int]) -> str:
    """``added 3, deleted 1``; '' when nothing changed."""
    return ", ".join(f"{name} {count}" for name, count in changes.items() if count)


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

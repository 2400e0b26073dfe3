"""``sluice dataset analyse|compare|duplicates|analyses``: look into datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cli.blocks import Block, Facts, Line, Table, numbers
from runner.cli.commands import Command
from runner.cli.session import Session, pass_session
from runner.cli.units import size_text, time_text

if TYPE_CHECKING:
    from runner.cli.session import AnyRunner

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN_CLASSES = 50
_SHOWN_PICTURES = 6
_OUT = click.Path(file_okay=False, path_type=Path)


def _out_options(command: F) -> F:
    command = click.option("--overwrite", is_flag=True, help="Replace files that are in that folder.")(command)
    return click.option("--out", type=_OUT, metavar="FOLDER", help="Copy the page, pictures and tables into this folder.")(command)


def _report_options(command: F) -> F:
    command = _out_options(command)
    command = click.option("--labels-only", is_flag=True, help="Look at labels alone and decode no picture.")(command)
    name = "One of the 14 features, by its key or a plain name such as brightness; may be repeated (default: all)."
    return click.option("--feature", "features", multiple=True, metavar="NAME", help=name)(command)


@click.command(cls=Command)
@click.argument("reference", metavar="NAME[@VERSION][:SPLIT]")
@_report_options
@pass_session
def analyse(session: Session, /, reference: str, out: Path | None, overwrite: bool, **options: Any) -> None:
    """Measure a dataset version: features, distributions, label statistics.

    Makes a web page that works offline, a PNG and Parquet tables. What was measured is kept: the next analysis of the version is quick.
    """
    from runner.cli.following import ImportDisplay

    with session.open_runner() as runner:
        with ImportDisplay("measuring") as display:
            made = runner.analyse_dataset(reference, on_progress=display, **options)
        _export(session, runner, made, out, overwrite)
    session.answer(made, analysis_blocks)


@click.command(cls=Command)
@click.argument("references", metavar="A B [C]...", nargs=-1, required=True)
@_report_options
@pass_session
def compare(session: Session, /, references: tuple[str, ...], out: Path | None, overwrite: bool, **options: Any) -> None:
    """Compare two to six dataset versions: what changed, features overlaid."""
    from runner.cli.following import ImportDisplay

    with session.open_runner() as runner:
        with ImportDisplay("measuring") as display:
            made = runner.compare_datasets(references, on_progress=display, **options)
        _export(session, runner, made, out, overwrite)
    session.answer(made, comparison_blocks)


@click.command(cls=Command)
@click.argument("reference", metavar="NAME[@VERSION][:SPLIT]")
@click.option(
    "--similarity", type=click.FloatRange(0.5, 1), default=0.9, show_default=True, metavar="S", help="From here on two pictures are alike: 1 is the same."
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, metavar="N", help="Groups to show; all are in the table."
)
@_out_options
@pass_session
def duplicates(session: Session, reference: str, similarity: float, limit: int, out: Path | None, overwrite: bool) -> None:
    """Find pictures that look the same: copies, and small changes of size, brightness, compression or crop.

    Says which of each group would stay, and which groups stand in several splits. Nothing is changed.
    """
    from runner.cli.following import ImportDisplay

    with session.open_runner() as runner:
        with ImportDisplay("comparing") as display:
            made = runner.find_near_duplicates(reference, similarity=similarity, limit=limit, on_progress=display)
        _export(session, runner, made, out, overwrite)
    session.answer(made, duplicate_blocks)


@click.command(cls=Command)
@click.argument("name", required=False)
@pass_session
def analyses(session: Session, name: str | None) -> None:
    """List the analyses that were made, newest first."""
    with session.open_runner() as runner:
        found = runner.list_analyses(name)
    session.answer(found, history_blocks)
    if not found:
        session.hint("sluice dataset analyse NAME")


COMMANDS = (analyse, compare, duplicates, analyses)


def _export(session: Session, runner: AnyRunner, made: dict[str, Any], out: Path | None, overwrite: bool) -> None:
    """The analysis stands, whatever becomes of the copy."""
    if out is not None:
        session.say_place(out, "written")
        made["out"] = runner.export_analysis(made["id"], out.absolute(), overwrite=overwrite)["folder"]


def analysis_blocks(made: Mapping[str, Any]) -> list[Block]:
    """Totals, the features in a line each, the classes, and where the page lies."""
    return [*_head(made), *_versions(made), *_features(made), *_classes(made), *_warnings(made)]


def comparison_blocks(made: Mapping[str, Any]) -> list[Block]:
    """What changed from each version to the next."""
    blocks: list[Block] = [*_head(made), *_versions(made)]
    for change in made["comparison"]:
        images, boxes = change["images"], change["annotations"]
        said = f"pictures +{images['added']} -{images['removed']}, {images['relabeled']} with other annotations, {images['moved']} in another split"
        blocks += [Line(), Line(f"{change['from']} to {change['to']}: {said}; annotations +{boxes['added']} -{boxes['removed']}")]
        rows = [
            (
                c["class"],
                *(c["annotations"][key] for key in ("before", "after", "added", "removed")),
                c["images"]["before"],
                c["images"]["after"],
            )
            for c in change["classes"][:_SHOWN_CLASSES]
        ]
        columns = ("class", "before", "after", "added", "removed", "pictures before", "pictures after")
        blocks.append(Table(columns, rows, numbers(*columns[1:]), indent=2))
        moved = [s for s in change["shifts"] if s["distance"] is not None]
        moved.sort(key=lambda s: -s["distance"])
        most = ", ".join(f"{s['key']} {s['distance']:.2f}" for s in moved[:5])
        blocks += [Line(f"moved most: {most}", indent=2)] if moved else []
    return [*blocks, *_warnings(made)]


def duplicate_blocks(made: Mapping[str, Any]) -> list[Block]:
    """The groups, one line each."""
    facts = [
        ("images", str(made["images"])),
        ("groups", f"{made['group_count']} of {made['images_in_groups']} images; {made['images_to_drop']} would go"),
        ("across splits", made["groups_across_splits"] or ""),
        ("table", str(Path(made.get("out") or made["folder"]) / "duplicates.parquet")),
    ]
    rows = [(len(group), _name(group[0]), _others(group[1:])) for group in made["groups"]]
    blocks: list[Block] = [Facts(facts)]
    if rows:
        blocks += [Line(), Table(("images", "stays", "like it"), rows, numbers("images"))]
    more = made["group_count"] - len(rows)
    return [*blocks, *([Line(f"… and {more} more groups in the table", "dim")] if more > 0 else []), *_unreadable(made)]


def history_blocks(found: list[Mapping[str, Any]]) -> list[Block]:
    """One line per analysis."""
    if not found:
        return [Line("No analyses.")]
    rows = [
        (a["id"], a["kind"], " ".join(a["references"]), time_text(a["created_at"]), _clock(a["duration_s"]), a["error"] or a["status"])
        for a in found
    ]
    return [Table(("analysis", "kind", "of", "created", "duration", "status"), rows, numbers("duration"))]


def _head(made: Mapping[str, Any]) -> list[Block]:
    page = Path(made.get("out") or made["folder"]) / "report.html"
    return [Facts([("analysis", made["id"]), ("page", str(page)), ("duration", _clock(made["duration_s"]))])]


def _versions(made: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            v["name"],
            v["images"],
            v["labeled_images"],
            v["annotations"],
            v["annotations_per_image"],
            v["classes"],
            size_text(v["size_bytes"]),
        )
        for v in made["versions"]
    ]
    columns = ("version", "images", "labeled", "annotations", "per image", "classes", "files")
    return [Line(), Table(columns, rows, numbers(*columns[1:]))]


def _features(made: Mapping[str, Any]) -> list[Block]:
    rows = [
        (summary["key"], *(_short(of[key]) for key in ("min", "p25", "median", "p75", "max", "mean")), summary["unit"])
        for summary in made["summaries"]
        for of in summary["of"]
    ]
    columns = ("feature", "min", "25 %", "median", "75 %", "max", "mean", "unit")
    return [Line(), Table(columns, rows, numbers(*columns[1:-1]))] if rows else []


def _classes(made: Mapping[str, Any]) -> list[Block]:
    ordered = sorted(made["classes"], key=lambda c: (-c["annotations"], c["class"]))
    if not ordered:
        return []
    rows = [(c["class"], c["annotations"], f"{100 * c['share']:.1f} %", c["images"]) for c in ordered[:_SHOWN_CLASSES]]
    more = len(ordered) - _SHOWN_CLASSES
    table = Table(("class", "annotations", "share", "images"), rows, numbers("annotations", "share", "images"))
    return [Line(), table, *([Line(f"… and {more} more classes", "dim")] if more > 0 else [])]


def _warnings(made: Mapping[str, Any]) -> list[Block]:
    shared = [
        Line(f"{pair['images']} images are in both {_part(pair['a'])} and {_part(pair['b'])}", "yellow")
        for pair in made["overlap"]
        if pair["a"]["version"] == pair["b"]["version"]
    ]
    return [*shared, *_unreadable(made)]


def _unreadable(made: Mapping[str, Any]) -> list[Block]:
    if not made["unreadable"]:
        return []
    lines = [Line(f"{failure['name']}: {failure['reason']}", indent=2) for failure in made["failures"]]
    return [Line(), Line(f"could not be read: {made['unreadable']}", "yellow"), *lines]


def _part(part: Mapping[str, str]) -> str:
    return f"{part['version']}:{part['split'] or 'unsplit'}"


def _name(picture: Mapping[str, Any]) -> str:
    return f"{picture['name'] or picture['asset'][:12]}{':' if picture['split'] else ''}{picture['split']}"


def _others(pictures: list[Mapping[str, Any]]) -> str:
    named = [f"{_name(picture)} {picture['similarity']:.2f}{' stays' if picture['kept'] else ''}" for picture in pictures[:_SHOWN_PICTURES]]
    more = len(pictures) - _SHOWN_PICTURES
    return ", ".join([*named, *([f"{more} more"] if more > 0 else [])])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _clock(duration_s: float | None) -> str:
    """hh:mm:ss, as ModelArts' history has it."""
    whole = int(duration_s or 0)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"

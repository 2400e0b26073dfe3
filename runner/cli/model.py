"""``sluice model``: import, show and export models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import RequestError
from runner.cli.blocks import Block, Facts, Line, Table, numbers, object_type_label
from runner.cli.commands import Group
from runner.cli.job_blocks import warning_blocks
from runner.cli.options import EXISTING_FILE, NEW_PLACE, PATH_OR_ADDRESS, key_value, names
from runner.cli.session import Session, pass_session
from runner.cli.units import count_text, metric_text, size_text, time_text

if TYPE_CHECKING:
    from runner.cli.following import ImportDisplay
    from runner.cli.session import AnyRunner

Model = Mapping[str, Any]


@click.group(cls=Group)
def model() -> None:
    """Import, show, choose stages of, and export models.

    MODEL is NAME (its newest version) or NAME@V0002.
    """


@model.command("list")
@click.argument("name", required=False)
@pass_session
def list_(session: Session, name: str | None) -> None:
    """List the models, or the versions of one, newest first."""
    with session.open_runner() as runner:
        models = runner.list_models(name)
    session.answer(models, list_blocks)
    if not models:
        session.hint("sluice train IMAGE --data DATASET", "sluice model import NAME FILE")


@model.command("import")
@click.argument("name")
@click.argument("source", type=PATH_OR_ADDRESS, metavar="FILE|FOLDER|URL")
@click.option("--classes", "class_names", type=names, default="", metavar="A,B", help="Its classes, in the order of their ids.")
@click.option("--classes-file", type=EXISTING_FILE, help="A file with one class a line, in the order of their ids.")
@click.option(
    "--object-type", metavar="TYPE", help="What it looks for: detection, semantic_segmentation, instance_segmentation, multi_modal."
)
@click.option("--stage", metavar="NAME", help="The name of the stage that bare weights are; of several folders, the best one.")
@click.option(
    "--metric", "metrics", type=key_value, multiple=True, metavar="NAME=NUMBER", help="A metric of it, like mAP=0.7; may be repeated."
)
@click.option("--image", metavar="IMAGE", help="The registered training image that it belongs to.")
@click.option("--description", default="", metavar="TEXT", help="What people should know about it.")
@pass_session
def import_(session: Session, /, name: str, source: str | Path, classes_file: Path | None, **facts: Any) -> None:
    """Import a model as the next version of NAME: a YMIR package, a folder of stages, or bare weights.

    A package tells everything itself. A folder of folders is a model of as many stages; anything else is one stage, and its classes and object
    type must be given. What is asked for and missing can be typed in on a terminal.

    \b
      sluice model import detector model.tar.gz
      sluice model import detector best.pt --classes cat,dog --object-type detection --metric mAP=0.7 --image yolo
    """
    from runner.cli.following import ImportDisplay

    if classes_file:
        facts["class_names"] = _read_classes(classes_file, facts["class_names"])
    if isinstance(source, Path):
        session.say_place(source, "read")
    with session.open_runner() as runner:
        while True:
            try:
                with ImportDisplay(unit="bytes") as display:
                    imported = _import(runner, name, source, facts, display)
                break
            except RequestError as error:
                if session.as_json or not sys.stdin.isatty() or not error.fields.get("missing"):
                    raise
                facts |= _ask(error)
    session.answer(imported, imported_blocks)
    session.hint(f"sluice infer --model {imported['reference']} --data DATASET")


def _import(runner: AnyRunner, name: str, source: str | Path, facts: dict[str, Any], display: ImportDisplay) -> dict[str, Any]:
    if isinstance(source, str):
        return runner.fetch_model(name, source, **facts, on_progress=display)
    return runner.import_model(name, source, **facts, on_progress=display)


@model.command()
@click.argument("name", metavar="MODEL")
@pass_session
def show(session: Session, name: str) -> None:
    """Show a model: its stages and metrics, its classes, and what it was trained from."""
    with session.open_runner() as runner:
        shown = runner.get_model(name)
    session.answer(shown, show_blocks)


@model.command()
@click.argument("name", metavar="MODEL")
@click.argument("file", type=NEW_PLACE)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@click.option(
    "--as", "form", type=click.Choice(["package", "folder"]), default="package", show_default=True, help="One archive, or plain files."
)
@pass_session
def export(session: Session, name: str, file: Path, overwrite: bool, form: str) -> None:
    """Write a model, with all its stages, into one archive: a YMIR model package; or the same as plain files into a new folder.

    Its files are checked against their checksums first.
    """
    session.say_place(file, "written")
    with session.open_runner() as runner:
        exported = runner.export_model(name, file, overwrite=overwrite, form=form)
    session.answer(exported, export_blocks)


@model.command()
@click.argument("name", metavar="MODEL")
@click.option("--stage", metavar="NAME", help="Only this stage.")
@pass_session
def check(session: Session, name: str, stage: str | None) -> None:
    """Check that every file of a model is what was stored; the exit status says so."""
    with session.open_runner() as runner:
        checked = runner.check_model(name, stage=stage)
    if checked["faults"]:
        raise RequestError(
            f"{len(checked['faults'])} of {checked['files']} files of {checked['model']} are not what was stored: "
            + ", ".join(f"{fault['stage']}/{fault['file']} is {fault['fault']}" for fault in checked["faults"][:5]),
            hint="Import it again, or train again.",
            **checked,
        )
    session.answer(checked, check_blocks)


@model.command()
@click.argument("name", metavar="MODEL")
@click.argument("stage", required=False)
@pass_session
def recommend(session: Session, name: str, stage: str | None) -> None:
    """Choose the stage that a model means where none is named; without STAGE the image's own best again."""
    with session.open_runner() as runner:
        shown = runner.recommend_stage(name, stage)
    session.answer(shown, show_blocks)


@model.command()
@click.argument("name", metavar="MODEL")
@click.argument("text")
@pass_session
def describe(session: Session, name: str, text: str) -> None:
    """Say what people should know about a model."""
    with session.open_runner() as runner:
        shown = runner.describe_model(name, text)
    session.answer(shown, show_blocks)


@model.command()
@click.argument("name")
@click.argument("new_name")
@pass_session
def rename(session: Session, name: str, new_name: str) -> None:
    """Give all versions of a model another name; refused while a job uses one."""
    with session.open_runner() as runner:
        renamed = runner.rename_model(name, new_name)
    session.answer(renamed, list_blocks)


@model.command()
@click.argument("name", metavar="MODEL")
@click.option("--all-versions", is_flag=True, help="Every version; needed where NAME alone has several.")
@pass_session
def remove(session: Session, name: str, all_versions: bool) -> None:
    """Forget a model with its files; refused while a job uses it. Its predictions stay."""
    with session.open_runner() as runner:
        removed = runner.remove_model(name, all_versions=all_versions)
    session.answer(removed, lambda document: [Line(f"Removed {', '.join(document['removed'])}: {size_text(document['freed_bytes'])}.")])


def list_blocks(models: list[Model]) -> list[Block]:
    """One line per version."""
    if not models:
        return [Line("No models.")]
    rows = [
        (
            m["name"],
            m["version"],
            len(m["stages"]),
            m["default_stage"],
            _default_metrics(m),
            len(m["class_names"]),
            m["image"]["name"],
            m["job"],
            time_text(m["created_at"]),
        )
        for m in models
    ]
    columns = ("model", "version", "stages", "stage", "metrics", "classes", "image", "job", "created")
    return [Table(columns, rows, numbers("stages", "classes"))]


def show_blocks(shown: Model) -> list[Block]:
    """Everything about one version of a model."""
    origin = shown["origin"]
    facts = Facts(
        [
            ("model", shown["reference"]),
            ("description", shown["description"]),
            ("job", shown["job"]),
            ("image", f"{shown['image']['name']}  {shown['image']['digest']}".strip()),
            ("object type", object_type_label(shown["object_type"])),
            ("classes", ", ".join(shown["class_names"])),
            ("started from", origin.get("started_from")),
            ("train data", _with_hash(shown["train_data"], origin, "train")),
            ("val data", _with_hash(shown["val_data"], origin, "val")),
            ("imported from", origin.get("source")),
            ("read as", origin.get("form")),
            ("made by", (origin.get("task_context") or {}).get("executor") if not shown["image"]["name"] else ""),
            ("parameters", "\n".join(f"{key}={value}" for key, value in (shown["parameters"] or {}).items())),
            ("evaluated with", "  ".join(f"{key}={value}" for key, value in shown["evaluate_config"].items())),
            ("attachments", "\n".join(f"{section}: {', '.join(files)}" for section, files in shown["attachments"].items())),
            ("recommended", shown["recommended_stage"]),
            ("metrics are", shown["metrics_definition"]),
            ("size", size_text(shown["size_bytes"])),
            ("created", time_text(shown["created_at"])),
            ("folder", shown["folder"]),
        ]
    )
    return [facts, Line(), _stages(shown)]


def imported_blocks(imported: Model) -> list[Block]:
    """The model, and what was tolerated to read it."""
    state = [Line("The newest version is this model already: nothing was stored.", "dim")] if imported["unchanged"] else []
    return [*state, *show_blocks(imported), *warning_blocks(imported["warnings"])]


def check_blocks(checked: Mapping[str, Any]) -> list[Block]:
    """What was compared, when all was well."""
    unknown = (
        f"; {count_text(checked['unknown'], 'file')} only looked for: stored before there were checksums" if checked["unknown"] else ""
    )
    return [Line(f"{checked['model']}: {count_text(checked['files'], 'file')}, {size_text(checked['bytes'])}, as stored{unknown}.")]


def _with_hash(reference: str | None, origin: Mapping[str, Any], role: str) -> str:
    digest = (origin.get("data_hashes") or {}).get(role)
    return f"{reference}  sha256:{digest[:12]}" if reference and digest else reference or ""


def export_blocks(exported: Mapping[str, Any]) -> list[Block]:
    """Where the archive is, and how to see that it arrived whole."""
    return [
        Facts(
            [
                ("model", exported["model"]),
                ("file", exported["file"]),
                ("size", size_text(exported["size_bytes"])),
                ("sha1", exported["sha1"]),
            ]
        )
    ]


def _stages(shown: Model) -> Table:
    names = list(dict.fromkeys(name for stage in shown["stages"] for name in stage["metrics"]))
    rows = [
        (
            f"{stage['name']}{' *' if stage['name'] == shown['default_stage'] else ''}",
            *(metric_text(stage["metrics"].get(name)) for name in names),
            size_text(stage["size_bytes"]),
            ", ".join(stage["files"]),
        )
        for stage in shown["stages"]
    ]
    return Table(("stage", *names, "size", "files"), rows, numbers(*names, "size"))


def _default_metrics(shown: Model) -> str:
    chosen = next((stage for stage in shown["stages"] if stage["name"] == shown["default_stage"]), None)
    return "  ".join(f"{name} {metric_text(value)}" for name, value in list(chosen["metrics"].items())[:3]) if chosen else ""


def _read_classes(file: Path, also: tuple[str, ...]) -> tuple[str, ...]:
    if also:
        raise click.UsageError("--classes and --classes-file say the same: leave one of them out.")
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} cannot be read as text: {error}.") from error


def _ask(error: RequestError) -> dict[str, Any]:
    """What nothing in the source tells, from the person at the terminal."""
    asked: dict[str, Any] = {}
    for fact in error.fields["missing"]:
        if fact == "class_names":
            asked[fact] = names(click.prompt("Classes, in the order of their ids, with commas", err=True))
        elif fact == "object_type":
            asked[fact] = click.prompt("Object type", default="detection", err=True)
    return asked

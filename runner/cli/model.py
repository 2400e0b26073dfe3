"""``sluice model``: show and export models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from runner.cli.blocks import Block, Facts, Line, Table, numbers
from runner.cli.commands import Group
from runner.cli.options import NEW_FILE
from runner.cli.session import Session, pass_session
from runner.cli.units import metric_text, size_text, time_text

Model = Mapping[str, Any]


@click.group(cls=Group)
def model() -> None:
    """Show and export models."""


@model.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the models."""
    with session.open_runner() as runner:
        models = runner.list_models()
    session.answer(models, list_blocks)
    if not models:
        session.hint("sluice train IMAGE --data DATASET")


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
@click.argument("file", type=NEW_FILE)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@pass_session
def export(session: Session, name: str, file: Path, overwrite: bool) -> None:
    """Write a model, with all its stages, into one archive: a YMIR model package."""
    session.say_place(file, "written")
    with session.open_runner() as runner:
        exported = runner.export_model(name, file, overwrite=overwrite)
    session.answer(exported, export_blocks)


def list_blocks(models: list[Model]) -> list[Block]:
    """One line per model."""
    if not models:
        return [Line("No models.")]
    rows = [
        (
            m["name"],
            len(m["stages"]),
            m["best_stage"],
            _best_metrics(m),
            len(m["class_names"]),
            m["image"]["name"],
            m["job"],
            time_text(m["created_at"]),
        )
        for m in models
    ]
    columns = ("model", "stages", "best stage", "metrics", "classes", "image", "job", "created")
    return [Table(columns, rows, numbers("stages", "classes"))]


def show_blocks(shown: Model) -> list[Block]:
    """Everything about one model."""
    facts = Facts(
        [
            ("model", shown["name"]),
            ("job", shown["job"]),
            ("image", f"{shown['image']['name']}  {shown['image']['digest']}"),
            ("classes", ", ".join(shown["class_names"])),
            ("train data", shown["train_data"]),
            ("val data", shown["val_data"]),
            ("parameters", "\n".join(f"{key}={value}" for key, value in (shown["parameters"] or {}).items())),
            ("created", time_text(shown["created_at"])),
            ("folder", shown["folder"]),
        ]
    )
    return [facts, Line(), _stages(shown)]


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
            f"{stage['name']}{' *' if stage['name'] == shown['best_stage'] else ''}",
            *(metric_text(stage["metrics"].get(name)) for name in names),
            size_text(stage["size_bytes"]),
            ", ".join(stage["files"]),
        )
        for stage in shown["stages"]
    ]
    return Table(("stage", *names, "size", "files"), rows, numbers(*names, "size"))


def _best_metrics(shown: Model) -> str:
    best = next((stage for stage in shown["stages"] if stage["name"] == shown["best_stage"]), None)
    return "  ".join(f"{name} {metric_text(value)}" for name, value in list(best["metrics"].items())[:3]) if best else ""

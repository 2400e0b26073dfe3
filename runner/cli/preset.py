"""``sluice preset``: requests saved under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.blocks import Block, Facts, Line, Table
from runner.cli.commands import Group
from runner.cli.options import key_value, names, stack
from runner.cli.session import Session, pass_session
from runner.cli.units import time_text

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("training", "mining", "inference", "mining+inference")
Preset = Mapping[str, Any]


@click.group(cls=Group)
def preset() -> None:
    """Save requests under a name, to run them again.

    sluice train --preset NAME runs one. A preset holds what was asked for, not what came of it: a dataset without a version means its newest
    one. Jobs know nothing of presets.
    """


def _fields(function: Callable[..., Any]) -> Callable[..., Any]:
    return stack(
        click.option("--image", metavar="IMAGE", help="The image."),
        click.option("--data", metavar="REF", help="The dataset to learn from or to look at."),
        click.option("--val", "val_data", metavar="REF", help="The dataset to measure on."),
        click.option("--model", metavar="NAME[@V0001][@STAGE]", help="The model to use or to start from."),
        click.option("--classes", "class_names", type=names, default="", metavar="A,B", help="Only these classes, in this order."),
        click.option("--set", "texts", type=key_value, multiple=True, metavar="KEY=VALUE", help="A parameter of the image's template."),
        click.option("--gpus", "gpu_count", type=click.IntRange(min=0), metavar="N", help="How many GPUs it gets."),
        click.option("--seed", type=int, metavar="N", help="For the choices Sluice makes."),
    )(function)


@preset.command()
@click.argument("name")
@click.option("--from-job", metavar="JOB", help="Save what this job asked for; the other options change it.")
@click.option("--kind", type=click.Choice(KINDS), help="What the job does (default: training, or the job's).")
@_fields
@pass_session
def save(session: Session, /, name: str, from_job: str | None, kind: str | None, texts: tuple[str, ...], **given: Any) -> None:
    """Save a request.

    \b
      sluice preset save nightly --from-job first
      sluice preset save quick --image detector --set epochs=2
    """
    with session.open_runner() as runner:
        base = runner.get_job(from_job)["kind"] if from_job else "training"
        request = _request(kind or base, given)
        saved = runner.save_preset(name, from_job=from_job, request=request, texts=texts)
    session.answer(saved, show_blocks)
    session.hint(f"sluice {_verb(saved)} --preset {saved['name']}")


@preset.command()
@click.argument("name")
@_fields
@click.option("--unset", multiple=True, metavar="FIELD", help="Take out a field, or a parameter as parameters.NAME; may be repeated.")
@pass_session
def edit(session: Session, /, name: str, texts: tuple[str, ...], unset: tuple[str, ...], **given: Any) -> None:
    """Change a preset; its name stays, and jobs that were made from it are left alone."""
    with session.open_runner() as runner:
        request = _request(runner.get_preset(name)["request"]["kind"], given)
        saved = runner.edit_preset(name, request=request, texts=texts, unset=unset)
    session.answer(saved, show_blocks)


@preset.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the presets."""
    with session.open_runner() as runner:
        presets = runner.list_presets()
    session.answer(presets, list_blocks)
    if not presets:
        session.hint("sluice preset save NAME --from-job JOB")


@preset.command()
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """Show a preset."""
    with session.open_runner() as runner:
        shown = runner.get_preset(name)
    session.answer(shown, show_blocks)


@preset.command()
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget a preset; jobs that were made from it are left alone."""
    with session.open_runner() as runner:
        removed = runner.remove_preset(name)
    session.answer(removed, lambda document: [Line(f"Removed {document['removed']}.")])


def list_blocks(presets: list[Preset]) -> list[Block]:
    """One line per preset."""
    if not presets:
        return [Line("No presets.")]
    rows = [
        (
            p["name"],
            p["request"]["kind"],
            p["request"].get("image"),
            _data(p["request"]),
            p["from_job"],
            p["user"],
            time_text(p["updated_at"]),
        )
        for p in presets
    ]
    return [Table(("preset", "kind", "image", "data", "from job", "user", "changed"), rows)]


def show_blocks(shown: Preset) -> list[Block]:
    """What a preset asks for."""
    request = dict(shown["request"])
    parameters = request.pop("parameters", {})
    return [
        Facts(
            [
                ("preset", shown["name"]),
                *((name.replace("_", " "), _text(value)) for name, value in request.items()),
                ("parameters", "\n".join(f"{name}={value}" for name, value in parameters.items())),
                ("from job", shown["from_job"]),
                ("user", shown["user"]),
                ("created", time_text(shown["created_at"])),
                ("changed", time_text(shown["updated_at"]) if shown["updated_at"] != shown["created_at"] else ""),
            ]
        )
    ]


def _request(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Only what was said; ``--data`` is what a training learns from and what other jobs look at."""
    said = {name: value for name, value in given.items() if value not in (None, ())}
    if kind == "training" and "data" in said:
        said["train_data"] = said.pop("data")
    return {"kind": kind, **said}


def _verb(saved: Preset) -> str:
    return {"training": "train", "inference": "infer"}.get(saved["request"]["kind"], "mine")


def _data(request: Mapping[str, Any]) -> str | None:
    return request.get("train_data") or request.get("data")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name}={item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

"""``sluice image``: register, show and link images."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from runner.cli.blocks import Block, Facts, Line, Table, object_type_label
from runner.cli.commands import Group
from runner.cli.options import EXISTING_FOLDER, permission_options
from runner.cli.session import Session, pass_session, plain
from runner.cli.units import size_text, time_text

Image = Mapping[str, Any]

_PULL_LINE_EVERY_S = 10.0
_STATE_WORDS = {
    "moved": "moved: the reference now points to another digest; `sluice image add` registers it",
    "missing": "missing: the engine no longer has it; pull or build it again",
    "unknown": "unknown: the engine does not answer",
}


@click.group(cls=Group)
def image() -> None:
    """Register, show and link images."""


@image.command()
@click.argument("folder", type=EXISTING_FOLDER)
@permission_options
@click.option("--base", metavar="REF", help="The base image to build on (default: the Dockerfile's).")
@pass_session
def build(session: Session, folder: Path, name: str | None, profile: str, allow: tuple[str, ...], base: str | None) -> None:
    """Build an image from a folder and register it.

    A name that exists gets the new digest; its links stay.
    """

    def say_line(line: str) -> None:
        if said := click.unstyle(line).rstrip():  # builders colour their words for a terminal that this may not be
            session.say(said)

    session.say_place(folder, "read")
    with session.open_runner() as runner:
        built = runner.build_image(folder, name=name, profile=profile, allow=allow, base=base, on_output=say_line)
    _answer_registered(session, built)


@image.command()
@click.argument("reference")
@permission_options
@click.option("--no-pull", is_flag=True, help="Refuse when the engine does not have it, instead of pulling it.")
@pass_session
def add(session: Session, reference: str, name: str | None, profile: str, allow: tuple[str, ...], no_pull: bool) -> None:
    """Register an image by its reference; it is read, never run.

    Adding a name again reads the reference again: a tag that moved gets its new digest.
    """
    with session.open_runner() as runner, PullLine() as line:
        added = runner.add_image(reference, name=name, profile=profile, allow=allow, pull=not no_pull, on_progress=line)
    _answer_registered(session, added)


@image.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the registered images."""
    with session.open_runner() as runner:
        images = runner.list_images()
    session.answer(images, list_blocks)
    if not images:
        session.hint("sluice image add REFERENCE", "sluice image build FOLDER")


@image.command()
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """Show an image: what it can do, its parameters, what it is allowed, its links."""
    with session.open_runner() as runner:
        shown = runner.get_image(name)
    session.answer(shown, show_blocks)


@image.command()
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget an image; the engine keeps its own copy, and jobs and models stay."""
    with session.open_runner() as runner:
        removed = runner.remove_image(name)
    session.answer(removed, lambda document: [Line(f"Removed {document['removed']}.")])


@image.command()
@click.argument("training_image", metavar="TRAINING")
@click.argument("others", metavar="OTHER...", nargs=-1, required=True)
@pass_session
def link(session: Session, training_image: str, others: tuple[str, ...]) -> None:
    """State that mining or inference images can read what a training image writes.

    Refused when the roles or object types do not fit. An image that offers all kinds is linked to itself: `sluice image link a a`.
    """
    links: list[dict[str, Any]] = []
    with session.open_runner() as runner:
        for other in others:
            links += runner.link_images(training_image, other)["links"]
    session.answer({"links": links}, link_blocks)


@image.command()
@click.argument("training_image", metavar="TRAINING")
@click.argument("other", metavar="OTHER")
@pass_session
def unlink(session: Session, training_image: str, other: str) -> None:
    """Take a link back."""
    with session.open_runner() as runner:
        links = runner.unlink_images(training_image, other)
    session.answer(links, lambda document: [Line("Removed:"), *link_blocks(document)])


class PullLine(AbstractContextManager["PullLine"]):
    """How far a pull is, on stderr: on a terminal one line that is written over, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._width = 0
        self._shown = ""
        self._shown_at = -_PULL_LINE_EVERY_S

    def __call__(self, message: str) -> None:
        text = plain(message)
        if text == self._shown:
            return
        if sys.stderr.isatty():
            text = text[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r{text.ljust(self._width)}", err=True, nl=False)
            self._width = len(text)
        elif time.monotonic() - self._shown_at >= _PULL_LINE_EVERY_S:
            click.echo(text, err=True)
            self._shown_at = time.monotonic()
        self._shown = text

    def __exit__(self, *exc_info: object) -> None:
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", err=True, nl=False)


def list_blocks(images: list[Image]) -> list[Block]:
    """One line per image."""
    if not images:
        return [Line("No images are registered.")]
    rows = [
        (i["name"], ", ".join(i["kinds"]), _object_types(i), size_text(i["size_bytes"]), i["profile"], i["state"], i["reference"])
        for i in images
    ]
    return [Table(("image", "kinds", "object types", "size", "profile", "state", "reference"), rows, frozenset({"size"}))]


def show_blocks(shown: Image) -> list[Block]:
    """Everything about one image."""
    blocks: list[Block] = [Facts(_facts(shown))]
    for template in shown["templates"]:
        blocks += [Line(), *template_blocks(template)]
    if shown["links"]:
        blocks += [Line(), Line("links", "bold"), *link_blocks(shown)]
    if shown["warnings"]:
        blocks += [Line(), Line("warnings", "yellow"), *(Line(warning, indent=2) for warning in shown["warnings"])]
    return blocks


def template_blocks(template: Mapping[str, Any]) -> list[Block]:
    """The parameters of one kind with type, default and help."""
    title = Line(f"{template['kind']} parameters ({object_type_label(template['object_type'])})", "bold")
    if not template["parameters"]:
        return [title, Line("none", "dim", indent=2)]
    rows = [(p["name"], p["type"], default_text(p["default"]), p["help"]) for p in template["parameters"]]
    return [title, Table(("parameter", "type", "default", "help"), rows, indent=2)]


def default_text(value: Any) -> str:
    """The default as it would be typed after ``key=``; a text that is empty or looks like another type is quoted."""
    import json

    return value if isinstance(value, str) and value and value == value.strip() else json.dumps(value, ensure_ascii=False)


def link_blocks(document: Mapping[str, Any]) -> list[Block]:
    """Which image reads which one's models."""
    rows = [(link["training_image"], "→", link["image"], link["kind"]) for link in document["links"]]
    return [Table(("training image", "", "image", "kind"), rows)]


def _facts(shown: Image) -> list[tuple[str, Any]]:
    return [
        ("image", shown["name"]),
        ("reference", shown["reference"]),
        ("digest", shown["digest"]),
        ("state", _STATE_WORDS.get(shown["state"], shown["state"])),
        ("points to", shown["current_digest"] if shown["state"] == "moved" else ""),
        ("size", size_text(shown["size_bytes"])),
        ("engine", shown["engine"]),
        ("contract", shown["dialect"]),
        ("kinds", ", ".join(shown["kinds"])),
        ("object types", _object_types(shown)),
        ("profile", " + ".join([shown["profile"], *shown["allow"]])),
        ("registered", time_text(shown["registered_at"])),
        ("updated", time_text(shown["updated_at"]) if shown["updated_at"] != shown["registered_at"] else ""),
    ]


def _object_types(shown: Image) -> str:
    return ", ".join(object_type["label"] for object_type in shown["object_types"])


def _answer_registered(session: Session, registered: Image) -> None:
    session.answer(registered, registered_blocks)
    for warning in registered["warnings"]:
        session.say(f"Warning: {warning}")
    name, kinds = registered["name"], registered["kinds"]
    if not registered["links"] and "training" in kinds:
        other = name if len(kinds) > 1 else "OTHER"
        session.hint(f"sluice image link {name} {other}", f"sluice train {name} --data DATASET", f"sluice image show {name}")
    else:
        session.hint(f"sluice image show {name}")


def registered_blocks(registered: Image) -> list[Block]:
    """What a person wants to know right after registering."""
    changed_from = registered.get("changed_from")
    return [
        Facts(
            [
                ("image", registered["name"]),
                ("digest", registered["digest"]),
                ("was", changed_from),
                ("kinds", ", ".join(registered["kinds"])),
                ("object types", _object_types(registered)),
                ("profile", " + ".join([registered["profile"], *registered["allow"]])),
                ("size", size_text(registered["size_bytes"])),
            ]
        )
    ]

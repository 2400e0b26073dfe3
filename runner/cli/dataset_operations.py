"""``sluice dataset filter``, ``merge``, ``split`` and the others: one command for each operation of ``contracts.operations``, made from its fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.operations import OPERATIONS
from runner.cli.commands import Command
from runner.cli.dataset import report_blocks
from runner.cli.options import EXISTING_FILE
from runner.cli.session import Session


def operation_command(name: str) -> click.Command:
    """The command of an operation."""
    model = OPERATIONS[name]
    own = [_parameter(field, info) for field, info in model.model_fields.items() if field != "op"]
    if "assets" in model.model_fields:
        own.append(click.Option(["--assets-file"], type=EXISTING_FILE, help="A file with asset ids, one a line."))
    reference = click.Argument(["reference"], metavar="NAME[@VERSION][:SPLIT]")
    into = click.Option(["--to"], metavar="DATASET", default="", help="Make it a version of this dataset (default: of the same).")

    def run(reference: str, to: str, assets_file: Path | None = None, **given: Any) -> None:
        session = click.get_current_context().ensure_object(Session)
        operation = {"op": name, **_asked(model, given, assets_file)}
        with session.open_runner() as runner:
            report = runner.derive_dataset(reference, operation, into=to)
        session.answer(report, derived_blocks)

    return Command(name, params=[reference, *own, into], callback=run, help=model.__doc__)


def derived_blocks(report: Mapping[str, Any]) -> list[Any]:
    """What came out of an operation."""
    return report_blocks(report)


def _parameter(name: str, info: FieldInfo) -> click.Parameter:
    """Values stay texts: the operation itself reads and checks them, for every door alike."""
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    several = _kind(info) in (tuple, Mapping)
    if place := str(extra.get("place", "")):
        return click.Argument([name], metavar=place + ("..." if several else ""), nargs=-1 if several else 1, required=info.is_required())
    option = "--" + _ONE.get(name, name).replace("_", "-")
    if bool in (info.annotation, *get_args(info.annotation)):
        return click.Option([f"{option}/--not-{option[2:]}", name], default=None, help=info.description)
    metavar = _METAVARS.get(name, name.rpartition("_")[2].upper())
    return click.Option([option, name], multiple=several, metavar=metavar, required=info.is_required(), help=info.description)


#: Options that may be repeated are named for one.
_ONE = {
    "classes": "class",
    "splits": "split",
    "states": "state",
    "tags": "tag",
    "names": "name",
    "assets": "asset",
    "reasons": "reason",
    "features": "feature",
}

_METAVARS = {
    "classes": "CLASS", "without": "CLASS", "into": "CLASS", "splits": "SPLIT", "keep": "SPLIT", "states": "STATE", "tags": "TAG=TEXT",
    "names": "PATTERN", "annotated_by": "WHO", "assets": "ASSET", "reasons": "NUMBER", "where": "EXPRESSION", "added_after": "TIME",
    "added_before": "TIME", "conflict": "first|last|union|refuse", "group_distance": "BITS", "distance": "BITS", "groups": "COUNT", "tag": "TAG",
}  # fmt: skip


def _kind(info: FieldInfo) -> Any:
    origin = get_origin(info.annotation)
    return Mapping if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping) else origin


def _asked(model: type[BaseModel], given: Mapping[str, Any], assets_file: Path | None) -> dict[str, Any]:
    """What was said on the command line: the rest has the operation's defaults."""
    asked = {name: value for name, value in given.items() if value is not None and value != ()}
    for name, value in asked.items():
        if _kind(model.model_fields[name]) is Mapping:
            asked[name] = _pairs(model.model_fields[name], name, value)
        elif value == ("",):
            asked[name] = ()
    if assets_file:
        asked["assets"] = (*asked.get("assets", ()), *_listed_assets(assets_file))
    return asked


def _listed_assets(file: Path) -> list[str]:
    """The ids in a file. One without any is refused: an operation takes no ids for no condition, which would be all images."""
    try:
        ids = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{str(file)!r} cannot be read as text: {error}.", param_hint="'--assets-file'") from error
    if not ids:
        raise click.BadParameter(f"{str(file)!r} lists no asset.", param_hint="'--assets-file'")
    return ids


def _pairs(info: FieldInfo, name: str, texts: tuple[str, ...]) -> dict[str, str]:
    """What was said as NAME=VALUE, each name once."""
    parameter = _parameter(name, info)
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", param=parameter)
        if key in pairs:
            raise click.BadParameter(f"{key!r} is given twice, as {pairs[key]!r} and {value!r}.", param=parameter)
        pairs[key] = value
    return pairs

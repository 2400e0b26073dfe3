"""How a door names a dataset and a model: ``name[@V002][:split]`` and ``name[@V0002][@stage]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.errors import DatasetError
from registry.versions import split_version

_REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})(@[Vv]?(?P<number>\d{1,6}))?(:(?P<split>[a-z][a-z0-9_-]{0,31}))?")


@dataclass(frozen=True)
class DatasetReference:
    """``name[@V002][:split]``. ``number`` None: the latest version; ``split`` '': every picture, whatever its split."""

    name: str
    number: int | None = None
    split: str = ""

    def __str__(self) -> str:
        number = "" if self.number is None else f"@V{self.number:03d}"
        return f"{self.name}{number}{':' if self.split else ''}{self.split}"


def parse_dataset_reference(text: str) -> DatasetReference:
    """Raises ``DatasetError`` for what is no reference."""
    match = _REFERENCE.fullmatch(text)
    if not match or (match["number"] and int(match["number"]) == 0):
        hint = "Write name, name@V002, name:split or name@V002:split; a split is train, val, test or pool."
        raise DatasetError(f"{text[:200]!r} is no reference to a dataset", hint=hint, reference=text[:200])
    return DatasetReference(match["name"], int(match["number"]) if match["number"] else None, match["split"] or "")


def stage_reference(model: str, stage: str) -> str:
    """``name@stage``; the name alone for a model that says nothing of stages."""
    return f"{model}@{stage}" if stage else model


def parse_model_reference(text: str) -> tuple[str, str | None]:
    """The model, as the registry takes it (``name`` or ``name@V0002``), and the stage or None for the model's default one.

    A stage that is itself called like a version can only be named behind a version: ``name@V0001@V0002``.
    """
    name, _, rest = text.partition("@")
    version, _, stage = rest.partition("@")
    if split_version(f"{name}@{version}")[1] is None:
        return name, rest or None
    return f"{name}@{version}", stage or None

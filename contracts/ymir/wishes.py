"""What a mining image asks Sluice for in its template: ``export_predictions`` and ``export_training_data`` are ``none``, ``optional`` or ``required``.

They are requests like ``export_format``: they reach ``config.yaml`` as they are, and mean something to Sluice beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.image import Kind, Template, Wish, Wishes

PREDICTIONS = "export_predictions"
TRAINING_DATA = "export_training_data"
_NAMES = (PREDICTIONS, TRAINING_DATA)
_KNOWN = ", ".join(map(str, Wish))


def wishes(kind: Kind, parameters: Mapping[str, Any]) -> Wishes:
    """What the parameters of a mining ask for; a value that is none of the three words asks for nothing."""
    if Kind.MINING not in kind.parts:
        return Wishes()
    return Wishes(*(_read(parameters.get(name)) or Wish.NONE for name in _NAMES))


def unknown_wishes(template: Template) -> list[str]:
    """A sentence for each wish that is none of the three words, or stands where it means nothing."""
    found = [parameter for parameter in template.parameters if parameter.name in _NAMES]
    if Kind.MINING not in template.kind.parts:
        return [f"{parameter.name} is for mining and means nothing here" for parameter in found]
    return [f"{p.name} {str(p.default)[:60]!r} is read as none; known are {_KNOWN}" for p in found if _read(p.default) is None]


def _read(value: object) -> Wish | None:
    """A wish; null and an empty text are none, as is YAML's ``no``."""
    word = "none" if value in (None, "", False) else str(value).strip().lower()
    return next((wish for wish in Wish if wish.value == word), None)

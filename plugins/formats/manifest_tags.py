"""What the line of a manifest says that has no place of its own here: kept as tags and attributes, so that it survives a round trip."""

from __future__ import annotations

import json
from typing import Any

from contracts.dataset import Annotation

#: In front of a key of the line itself, that nobody described or that only this format knows.
KEPT = "manifest:"
#: The property that says the state of a picture where it does not follow from its labels.
STATE = "@sluice:state"
_MACHINE = "modelarts/"


def state_of(annotations: tuple[Annotation, ...] | None) -> str:
    """``to_be_confirmed`` when a machine made every label, else ''."""
    made_by_machine = bool(annotations) and all(one.annotated_by.startswith(_MACHINE) for one in annotations or ())
    return "to_be_confirmed" if made_by_machine else ""


def tag_text(value: Any) -> str:
    """A value of JSON as the text of a tag: a text as it is unless it reads as JSON itself, everything else as JSON."""
    return value if isinstance(value, str) and not _is_json(value) else json.dumps(value, ensure_ascii=False)


def tag_value(text: str) -> Any:
    """What ``tag_text`` was given."""
    return json.loads(text, parse_constant=_no_constant) if _is_json(text) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(name)

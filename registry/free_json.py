"""Free-form values as JSON that comes back as it went in.

Templates and metrics hold what images wrote in YAML: dates, bytes, infinities, dictionaries with numbers as keys. JSON has none of these
and PostgreSQL refuses ``NaN``, so each is written as a dictionary with one ``$`` key. Tuples come back as lists.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any

from contracts.errors import RequestError

#: Most values by far: told by their own type, so that a large document costs one look at each.
_PLAIN = frozenset({type(None), bool, int, str})


def encode(value: Any) -> Any:
    """The value as strict JSON types. Raises ``RequestError`` naming the type that cannot be kept."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    return _encode_scalar(value)


def decode(value: Any) -> Any:
    """The value that ``encode`` was given."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, inner), *_ = value.items()
        if key in _DECODERS:
            return _DECODERS[key](inner)
    return {key: decode(item) for key, item in value.items()}


def _encode_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    encoded = {}
    for key, item in value.items():
        if not isinstance(key, str) or key.startswith("$"):
            return {"$map": [[encode(key), encode(item)] for key, item in value.items()]}
        encoded[key] = item if type(item) in _PLAIN else encode(item)
    return encoded


def _encode_scalar(value: Any) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    raise RequestError(
        f"a value of type {type(value).__name__} cannot be stored: {value!r:.80}",
        hint="Use numbers, texts, booleans, lists, dictionaries, dates or null.",
    )


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$bytes": base64.b64decode,
    "$map": lambda pairs: {decode(key): decode(item) for key, item in pairs},
}

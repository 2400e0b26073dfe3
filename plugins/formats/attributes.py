"""What a source says of a class or an object beyond its box: names with values of JSON, of a size that a table can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MOST = 100
_LONGEST_NAME = 200
_LONGEST_TEXT = 10_000
_DEEPEST = 3
_LARGEST_WHOLE = 2**53


def read_attributes(value: Any) -> dict[str, Any]:
    """The attributes that can be kept, in their order: the others (NaN, huge numbers, deep trees, nameless ones) are left out."""
    if not isinstance(value, Mapping):
        return {}
    pairs = ((" ".join(str(name).split()), text) for name, text in value.items() if isinstance(name, str))
    kept = {name: text for name, text in pairs if name and name.isprintable() and len(name) <= _LONGEST_NAME and is_kept(text)}
    return dict(list(kept.items())[:_MOST])


def is_kept(value: Any, depth: int = 0) -> bool:
    """Whether a value of an attribute is one that JSON and every reader of it can carry."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return abs(value) <= _LARGEST_WHOLE
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and _is_text(value)
    if isinstance(value, list):
        return depth < _DEEPEST and len(value) <= _MOST and all(is_kept(item, depth + 1) for item in value)
    if isinstance(value, Mapping):
        fits = depth < _DEEPEST and len(value) <= _MOST
        return fits and all(isinstance(key, str) and _is_text(key) and is_kept(item, depth + 1) for key, item in value.items())
    return False


def _is_text(value: str) -> bool:
    """Without lone surrogates, which no file can hold."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

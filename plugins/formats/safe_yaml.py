"""YAML from others: plain values only, as JSON has them.

SECURITY: aliases are refused; a few lines of them expand to gigabytes.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from plugins.formats.listing import UnreadableFileError


class _Plain(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read_yaml(text: str) -> Any:
    """The document as values of JSON: dates and other values that JSON has not become text. Raises ``UnreadableFileError``."""
    try:
        return _as_json(yaml.load(text, _Plain))  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError, ArithmeticError) as error:
        raise UnreadableFileError(f"is not readable YAML: {' '.join(str(error).split())[:200]}") from error


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)

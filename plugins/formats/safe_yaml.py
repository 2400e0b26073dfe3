"""YAML from others: plain values only, as JSON has them.

SECURITY: a few lines of aliases expand to gigabytes, so that values are counted while they are copied, and merge keys are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import yaml

from plugins.formats.listing import UnreadableFileError

_MOST_VALUES = 100_000


class _Plain(yaml.SafeLoader):
    def flatten_mapping(self, node: Any) -> None:
        """Merge keys (``<<``) stay what they are, and are refused as a value that nothing constructs."""


def read_yaml(text: str) -> Any:
    """The document as values of JSON: dates and other values that JSON has not become text. Raises ``UnreadableFileError``."""
    try:
        return _as_json(yaml.load(text, _Plain), count())  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError, ArithmeticError) as error:
        raise UnreadableFileError(f"is not readable YAML: {' '.join(str(error).split())[:200]}") from error


def _as_json(value: Any, counter: Iterator[int]) -> Any:
    if next(counter) > _MOST_VALUES:
        raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
    if isinstance(value, dict):
        return {str(key): _as_json(item, counter) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_as_json(item, counter) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)

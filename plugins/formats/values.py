"""Numbers, words and classes as label files write them."""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal
from typing import Any

#: Larger than any picture; beyond it a coordinate is a mistake, and arithmetic with it would lose pixels.
_LARGEST = 1e7
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_LONGEST_CLASS_NAME = 200
_EXACT = Context(prec=800)


class BadValueError(Exception):
    """A value that cannot be used; the message is the reason for the report. Never leaves the format that raised it."""


def read_number(value: Any, name: str) -> float:
    """A finite number from text or JSON. Raises ``BadValueError`` for what is missing, no number, NaN, infinite or absurdly large."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadValueError(f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadValueError(f"{name} is not a number")
    if isinstance(value, str) and not (len(value) < 400 and _NUMBER.fullmatch(value.strip())):
        raise BadValueError(f"{name} is not a number: {value.strip()[:40]!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise BadValueError(f"{name} is out of all bounds: {number:g}")
    return number


def read_class_name(value: Any) -> str:
    """A class name stripped, with single spaces, in lower case. Raises ``BadValueError`` for none, or one that would break a label file."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise BadValueError("the class name is missing")
    name = " ".join(str(value).split()).lower()
    if not name:
        raise BadValueError("the class name is missing")
    if len(name) > _LONGEST_CLASS_NAME or not name.isprintable():
        raise BadValueError(f"the class name is not usable: {name[:40]!r}")
    return name


def is_true(value: Any) -> bool:
    """A flag as label files write it: 1, true, yes."""
    return str(value).strip().lower() in {"1", "1.0", "true", "yes"}


def exact_sum(first: float | Decimal, second: float | Decimal) -> Decimal:
    """The sum of both as they are printed, without the rounding of floats: a length that goes through two corners comes back equal."""
    return _EXACT.add(_decimal(first), _decimal(second))


def _decimal(value: float | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return value
    number = float(value)
    return Decimal(int(number)) if number.is_integer() else Decimal(repr(number))


def number_text(value: float | Decimal) -> str:
    """A number without an exponent and without a needless ``.0``; reads back equal."""
    if not isinstance(value, Decimal):
        number = float(value)
        if number.is_integer():
            return str(int(number))
        if "e" not in (text := repr(number)):
            return text
    text = f"{_decimal(value):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text

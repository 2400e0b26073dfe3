"""Sizes, durations and times: read from the command line, written for people."""

from __future__ import annotations

import re
from datetime import datetime

_SIZE_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_DURATION_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"


def parse_size(text: str) -> int:
    """Bytes in ``8g``, ``512m``, ``1.5GiB`` or ``1048576``; k, m, g, t are powers of 1024, as Docker has them. Raises ``ValueError``."""
    match = re.fullmatch(_NUMBER + r"\s*(?:([kmgt])(?:i?b)?|b)?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write a number with k, m, g or t, like 512m or 8g")
    return int(float(match[1]) * _SIZE_UNITS[match[2] or ""])


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``2h``, ``1d`` or ``1h30m``. Raises ``ValueError``, also for a number without a unit."""
    compact = text.strip().lower().replace(" ", "")
    parts = re.findall(_NUMBER + "([dhms])", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration; write a number with s, m, h or d, like 90s, 2h or 1h30m")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def size_text(size_bytes: float | None) -> str:
    """``1.5 GiB``; '' for None."""
    if size_bytes is None:
        return ""
    size, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1023.95:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def duration_text(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``1 d 3 h``; '' for None."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def time_text(iso: str | None) -> str:
    """An ISO 8601 time in the local time zone, to the second; '' for None, the text itself when it is no time."""
    if not iso:
        return ""
    try:
        return datetime.fromisoformat(iso.replace("Z", "+00:00")).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return iso


def metric_text(value: float | None) -> str:
    """Four significant decimals for a share, a whole number for a count."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def count_text(count: int, noun: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def ordinal_text(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"

"""The image's word about itself: ``/out/monitor.txt`` (contract reference 5.1).

The file is overwritten while it is read, by every image in its own way; a reading that makes no sense means: keep the last one, look again.
"""

from __future__ import annotations

import math
from pathlib import Path

from contracts.results import Progress
from contracts.ymir.layout import MONITOR
from contracts.ymir.out_dir import OutDir
from contracts.ymir.tolerances import Tolerances, printable

_MAX_BYTES = 64 * 1024
_MAX_TRACE_LINES = 99  # lines 2 to 100, as YMIR keeps them
_MAX_MESSAGE = 2000
_MAX_CODE_DIGITS = 9
_STATES = {
    "0": "unknown",
    "1": "pending",
    "2": "running",
    "3": "done",
    "4": "error",
    "pending": "pending",
    "running": "running",
    "done": "done",
    "error": "error",
    "unknown": "unknown",
}


def read_progress(out_dir: Path) -> Progress | None:
    """The progress that monitor.txt tells, or None when it tells none that can be read at this moment.

    Never raises for what the image wrote, never waits, never follows a link.
    """
    head = OutDir(out_dir).read_head(MONITOR, _MAX_BYTES)
    return parse_progress(*head) if head else None


def parse_progress(content: bytes, modified_at: float) -> Progress | None:
    """The progress in the bytes of monitor.txt; ``modified_at`` (Unix seconds) stands in for an unreadable time."""
    text = content.decode("utf-8-sig", errors="replace").replace("\x00", "").replace("\r\n", "\n")
    lines = printable(text, keep="\t\n").strip().split("\n")
    tolerances = Tolerances()
    fields = _fields(lines[0].strip(), tolerances)
    fraction = _fraction(fields[2], tolerances) if len(fields) >= 4 else None
    if fraction is None:
        return None
    code, message = _code_and_message(fields[4:], tolerances)
    return Progress(
        fraction=fraction,
        state=_state(fields[3], tolerances),
        code=code,
        message=message,
        timestamp=_timestamp(fields[1], modified_at, tolerances),
        trace="\n".join(lines[1 : 1 + _MAX_TRACE_LINES]).strip(),
        warnings=tolerances.warnings(),
    )


def _fields(row: str, tolerances: Tolerances) -> list[str]:
    """At most six: the message may hold anything."""
    fields = [field.strip() for field in row.split("\t", 5)]
    if len(fields) >= 4:
        return fields
    tolerances.add("monitor_separator", "fields are separated by spaces instead of tabs", MONITOR)
    return row.split(None, 5)


def _fraction(text: str, tolerances: Tolerances) -> float | None:
    fraction = _number(text)
    if fraction is None:
        return None
    if not 0 <= fraction <= 1:
        tolerances.add("monitor_percent_range", "the progress is not between 0 and 1", MONITOR, text)
    return min(1.0, max(0.0, fraction))


def _state(text: str, tolerances: Tolerances) -> str:
    state = _STATES.get(text.lower())
    if state is None or not text.isdigit():
        tolerances.add("monitor_state", "the state is not a number from 1 to 4", MONITOR, text)
    return state or "unknown"


def _timestamp(text: str, modified_at: float, tolerances: Tolerances) -> float:
    timestamp = _number(text)
    if timestamp is None:
        tolerances.add("monitor_timestamp", "the time is not a number; the file's own is taken", MONITOR, text)
    return modified_at if timestamp is None else timestamp


def _code_and_message(rest: list[str], tolerances: Tolerances) -> tuple[int, str]:
    """Four fields, or five of which the last is empty, are an older form of the same row and not worth a word."""
    if not rest or not "".join(rest):
        return 0, ""
    digits = rest[0].removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_CODE_DIGITS:
        return int(rest[0]), " ".join(rest[1:])[:_MAX_MESSAGE]
    if rest[0]:
        tolerances.add("monitor_code", "the code is not a number", MONITOR, rest[0])
    return 0, " ".join(rest).strip()[:_MAX_MESSAGE]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""Why a mining ranked as it did: ``/out/mining-reasons.jsonl``, one JSON object a line. An image may leave it; nothing in it can fail a job.

Whatever cannot be read is left out and named in a warning, and everything is bounded: the file, a line, the lists in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from contracts.results import MinedBox, MinedPicture
from contracts.ymir.candidates import Candidates
from contracts.ymir.documents import parse_json
from contracts.ymir.layout import MINING_REASONS
from contracts.ymir.numbers import MAX_PIXEL, json_number
from contracts.ymir.out_dir import OutDir, open_without_waiting
from contracts.ymir.tolerances import Tolerances, printable

MAX_BYTES = 512 * 1024**2
MAX_LINE_BYTES = 1024**2
MAX_BOXES, MAX_REASONS, MAX_TEXTS = 1000, 100, 100
#: Of the boxes of all pictures together: they are held in memory.
MAX_ALL_BOXES = 2_000_000
_MAX_TEXT = 400
_MAX_REASON = 10_000


def collect_reasons(out: OutDir, candidates: Candidates, tolerances: Tolerances) -> dict[str, MinedPicture]:
    """By asset id what the image said of it; empty when it left no such file."""
    found = out.find_file(MINING_REASONS)
    if found.path is None or not found.path.exists():
        if found.reason and found.reason != "it does not exist":
            _warn(tolerances, "unusable", f"the file cannot be used: {found.reason}")
        return {}
    try:
        with open_without_waiting(found.path) as file:
            return _read(file, candidates, tolerances)
    except OSError as error:
        _warn(tolerances, "unusable", f"the file cannot be read: {error.strerror}")
        return {}


def _read(file: BinaryIO, candidates: Candidates, tolerances: Tolerances) -> dict[str, MinedPicture]:
    pictures: dict[str, MinedPicture] = {}
    boxes_left = MAX_ALL_BOXES
    for line in _lines(file, tolerances):
        document = _document(line, tolerances)
        if document is None:
            continue
        image = document.get("image")
        match = candidates.find(image) if isinstance(image, str) else None
        if match is None:
            _warn(tolerances, "unknown_image", "lines about a picture that is no candidate were left out", str(image))
        elif match.asset_id in pictures:
            _warn(tolerances, "image_twice", "further lines about the same picture were left out", str(image))
        else:
            picture = _picture(document, boxes_left, tolerances)
            boxes_left -= len(picture.boxes)
            pictures[match.asset_id] = picture
    return pictures


def _lines(file: BinaryIO, tolerances: Tolerances) -> Iterator[bytes]:
    """Lines that are not blank and not longer than a line may be; no more than the file may hold."""
    read = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        read += len(line)
        if read > MAX_BYTES:
            _warn(tolerances, "too_large", f"the file is larger than {MAX_BYTES // 1024**2} MiB: the rest was left out")
            return
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            _warn(tolerances, "long_line", f"lines longer than {MAX_LINE_BYTES // 1024} KiB were left out")
            read += _skip_line(file, MAX_BYTES - read)
        elif line.strip():
            yield line


def _skip_line(file: BinaryIO, most: int) -> int:
    """Reads on to the end of the line, or until ``most`` bytes are read; how many they were."""
    read = 0
    while read <= most and (part := file.readline(MAX_LINE_BYTES)):
        read += len(part)
        if part.endswith(b"\n"):
            break
    return read


def _document(line: bytes, tolerances: Tolerances) -> Mapping[str, Any] | None:
    try:
        document, _ = parse_json(line.decode("utf-8-sig"))
    except ValueError as error:
        _warn(tolerances, "line", "lines that are no JSON were left out", str(error))
        return None
    if not isinstance(document, dict):
        _warn(tolerances, "line", "lines that hold no JSON object were left out", printable(line[:60].decode("utf-8", "replace")))
        return None
    return document


def _picture(document: Mapping[str, Any], boxes_left: int, tolerances: Tolerances) -> MinedPicture:
    hard = document.get("hard")
    if hard is not None and not isinstance(hard, bool):
        _warn(tolerances, "value", "values of the wrong type were left out", f"hard {hard!r}")
        hard = None
    return MinedPicture(
        coefficient=_fraction(document, "score", tolerances),
        hard=hard,
        reasons=_reasons(document.get("reasons"), tolerances),
        texts=tuple(printable(text)[:_MAX_TEXT] for text in _list(document, "texts", MAX_TEXTS, tolerances) if isinstance(text, str)),
        boxes=tuple(box for entry in _list(document, "boxes", min(MAX_BOXES, boxes_left), tolerances) if (box := _box(entry, tolerances))),
    )


def _list(document: Mapping[str, Any], name: str, most: int, tolerances: Tolerances) -> list[Any]:
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        _warn(tolerances, "value", "values of the wrong type were left out", f"{name} {str(value)[:40]!r}")
        return []
    if len(value) > most:
        _warn(
            tolerances,
            "long_list",
            f"lists were cut: more than {MAX_BOXES} boxes of a picture, {MAX_ALL_BOXES} of all, or {MAX_TEXTS} texts",
        )
    return value[:most]


def _reasons(value: Any, tolerances: Tolerances) -> tuple[int, ...]:
    """The numbers of a list, each once; also of ModelArts' text ``1-20-3``."""
    listed = value.split("-")[: MAX_REASONS + 1] if isinstance(value, str) and value else [] if value in (None, "") else value
    if not isinstance(listed, list):
        _warn(tolerances, "value", "values of the wrong type were left out", f"reasons {str(value)[:40]!r}")
        return ()
    numbers = [number for part in listed[:MAX_REASONS] if (number := _reason(part)) is not None]
    if len(numbers) < len(listed):
        _warn(tolerances, "reason", "reasons that are no numbers from 0 on were left out", str(value)[:60])
    return tuple(dict.fromkeys(numbers))


def _reason(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    return value if type(value) is int and 0 <= value < _MAX_REASON else None


def _box(entry: Any, tolerances: Tolerances) -> MinedBox | None:
    corners = entry.get("box") if isinstance(entry, dict) else None
    numbers = [json_number(value) for value in corners] if isinstance(corners, list) and len(corners) == 4 else []
    usable = [number for number in numbers if number is not None and math.isfinite(number) and abs(number) <= MAX_PIXEL]
    if len(usable) != 4 or usable[2] < 0 or usable[3] < 0:
        _warn(tolerances, "box", "boxes that are not [x, y, width, height] in pixels were left out", str(corners)[:60])
        return None
    name, (x, y, width, height) = entry.get("class_name"), usable
    return MinedBox(
        x,
        y,
        width,
        height,
        class_name=printable(name)[:200] if isinstance(name, str) else "",
        score=_fraction(entry, "score", tolerances),
        hardness=_fraction(entry, "hardness", tolerances),
        reasons=_reasons(entry.get("reasons"), tolerances),
    )


def _fraction(document: Mapping[str, Any], name: str, tolerances: Tolerances) -> float | None:
    """A number in [0, 1], clamped; None when there is none."""
    value = document.get(name)
    if value is None:
        return None
    number = json_number(value)
    if number is None or not math.isfinite(number):
        _warn(tolerances, "value", "values of the wrong type were left out", f"{name} {str(value)[:40]!r}")
        return None
    if not 0 <= number <= 1:
        _warn(tolerances, "range", "numbers outside [0, 1] were clamped", f"{name} {number:g}")
    return min(1.0, max(0.0, number))


def _warn(tolerances: Tolerances, code: str, message: str, example: str = "") -> None:
    tolerances.add(f"reasons_{code}", message, MINING_REASONS, example)

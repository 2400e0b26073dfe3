"""Regions of Label Studio: what a person or model drew on a picture, in percents of its width and height, and back."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.dataset import Annotation
from contracts.seams import Skip
from plugins.formats.attributes import read_attributes
from plugins.formats.geometry import ellipse, turned
from plugins.formats.mask_runs import MOST_PIXELS, mask_bounds, mask_of, rows_of
from plugins.formats.run_length import segmentation_bounds
from plugins.formats.values import BadValueError, is_true, read_class_name, read_number

_MOST_REGIONS = 100_000
_MOST_RLE_BYTES = 20_000_000
_MOST_MASK_PIXELS = 500_000_000
_MOST_POINTS = 100_000
#: Kinds of regions by the fields that draw them; the labels stand under the type's own name, or under ``labels``.
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "labels")
_RLE_SIZES = (3, 4, 8, 16)
_WORD_BITS = 8

Size = tuple[int, int]


class _Budget:
    """Pixels of masks that may still be converted for one task."""

    def __init__(self) -> None:
        self.pixels = _MOST_MASK_PIXELS


def read_regions(
    place: str, result: Any, *, scored: bool, score: Any = None, author: str = ""
) -> tuple[tuple[Annotation, ...], Size | None, list[Skip]]:
    """The annotations of one ``result``, the size of the picture as it says, and notes by element. ``score`` is for regions without their own."""
    if not isinstance(result, list):
        return (), None, [Skip(place, "has no list of results", "box")] if result not in (None, {}) else []
    boxes: list[Annotation] = []
    notes: list[Skip] = []
    size: Size | None = None
    budget = _Budget()
    further = _further(result)
    for index, entry in enumerate(result[:_MOST_REGIONS]):
        at = f"{place}/result[{index}]"
        try:
            if not isinstance(entry, dict) or not isinstance(entry.get("value"), dict):
                raise BadValueError("is no region")
            size = size or _size(entry)
            given = _score(entry.get("score", entry["value"].get("score"))) if scored else None
            given = _score(score) if scored and given is None else given
            said = {"score": given, **_said(entry, further, author)}
            boxes += _read_region(entry, said, budget)
        except BadValueError as error:
            notes.append(Skip(at, str(error), "box"))
    if len(result) > _MOST_REGIONS:
        notes.append(Skip(place, f"of {len(result)} regions the first {_MOST_REGIONS:,} were read", "box"))
    return tuple(boxes), size, notes


def _further(result: Sequence[Any]) -> Mapping[str, dict[str, Any]]:
    """Answers to questions about single regions (``perRegion``), by region: they share its id and draw nothing."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    drawn = {entry["id"] for entry in result if isinstance(entry, dict) and _kind(entry) and isinstance(entry.get("id"), str)}
    for entry in result:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"] in drawn and not _kind(entry):
            for word in ("choices", "text", "rating", "number"):
                value = entry["value"].get(word) if isinstance(entry.get("value"), dict) else None
                if value is not None and isinstance(entry.get("from_name"), str):
                    found[entry["id"]][entry["from_name"]] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return found


def _kind(entry: Mapping[str, Any]) -> str:
    """The name of the field with the labels of a drawn region; '' for what draws nothing."""
    value = entry.get("value")
    if not isinstance(value, dict):
        return ""
    return next((name for name in _LABELS if isinstance(value.get(name), list)), "")


def _said(entry: Mapping[str, Any], further: Mapping[str, dict[str, Any]], author: str) -> dict[str, Any]:
    """What is known of a region beside its shape: answers about it, and what our own writer says of it."""
    own = _mapping(_mapping(entry.get("meta")).get("sluice"))
    identity = entry.get("id")
    answers = further.get(identity, {}) if isinstance(identity, str) else {}
    said: dict[str, Any] = {"attributes": read_attributes({**_mapping(own.get("attributes")), **answers})}
    for name, default in (("quality", -1.0), ("angle", 0.0)):
        value = own.get(name)
        said[name] = float(value) if isinstance(value, (int, float)) and abs(value) < 1e6 else default
    other = own.get("annotated_by")
    said["annotated_by"] = other[:200] if isinstance(other, str) and (other.isprintable() or not other) else author
    return {**said, "difficult": is_true(own.get("difficult", 0)), "crowd": is_true(own.get("crowd", 0))}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _score(value: Any) -> float | None:
    """Between 0 and 1, else None."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1 else None


def _size(entry: Mapping[str, Any]) -> Size | None:
    try:
        width, height = (int(read_number(entry.get(f"original_{side}"), side)) for side in ("width", "height"))
    except BadValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _read_region(entry: Mapping[str, Any], said: dict[str, Any], budget: _Budget) -> Iterator[Annotation]:
    """One annotation for each label of a region; none for an answer about another region."""
    value = entry["value"]
    if isinstance(value.get("choices"), list) and not _kind(entry):
        if "x" not in value and "points" not in value:
            for choice in value["choices"]:
                yield Annotation(read_class_name(choice), 0.0, 0.0, 0.0, 0.0, shape="image", **said)
        return
    kind = _kind(entry)
    if not kind:
        if entry.get("type") in ("textarea", "rating", "number", "relation", "rectangle", "polygon", "ellipse", "keypoint", "brush"):
            return
        raise BadValueError(f"a region of the type {str(entry.get('type'))[:40]!r} is not read")
    if entry.get("image_rotation") not in (None, 0):
        raise BadValueError("the picture was turned while it was labelled")
    size = _size(entry)
    if size is None:
        raise BadValueError("original_width and original_height are missing: percents mean no pixels")
    if not value[kind]:
        raise BadValueError("the region has no label")
    for name in value[kind]:
        yield _drawn(value, read_class_name(name), size, said, budget)


def _drawn(value: Mapping[str, Any], name: str, size: Size, said: dict[str, Any], budget: _Budget) -> Annotation:
    if "rle" in value:
        return _brush(value, name, size, said, budget)
    if isinstance(value.get("points"), list):
        points = _points(value["points"], name, size)
        return Annotation(name, *segmentation_bounds([points]), segmentation=[points], **said)
    if "radiusX" in value:
        return _ellipse(value, name, size, said)
    x, y = _percent(value, "x", name, size[0]), _percent(value, "y", name, size[1])
    if "height" not in value:
        return Annotation(name, x, y, 0.0, 0.0, shape="point", points=(x, y), **said)
    width, height = _percent(value, "width", name, size[0]), _percent(value, "height", name, size[1])
    degrees = read_number(value.get("rotation") or 0, f"{name}: rotation") % 360
    if not degrees:
        return Annotation(name, x, y, width, height, **said)
    corners = turned(x, y, width, height, degrees, (x, y))
    said = {**said, "attributes": {**said["attributes"], "rotation": degrees}}
    return Annotation(name, *segmentation_bounds([corners]), segmentation=[corners], **said)


def _percent(value: Mapping[str, Any], key: str, name: str, side: int) -> float:
    return read_number(value.get(key), f"{name}: {key}") / 100 * side


def _points(points: Sequence[Any], name: str, size: Size) -> list[float]:
    if not 3 <= len(points) <= _MOST_POINTS or any(not isinstance(point, list) or len(point) != 2 for point in points):
        raise BadValueError(f"{name}: points are no list of three or more [x, y]")
    return [read_number(part, f"{name}: a point") / 100 * size[axis] for point in points for axis, part in enumerate(point)]


def _ellipse(value: Mapping[str, Any], name: str, size: Size, said: dict[str, Any]) -> Annotation:
    cx, cy = _percent(value, "x", name, size[0]), _percent(value, "y", name, size[1])
    rx, ry = _percent(value, "radiusX", name, size[0]), _percent(value, "radiusY", name, size[1])
    if rx <= 0 or ry <= 0:
        raise BadValueError(f"{name}: an ellipse without a radius")
    if abs(rx - ry) < 1e-6:
        return Annotation(name, cx - rx, cy - rx, 2 * rx, 2 * rx, shape="circle", points=(cx, cy, rx), **said)
    degrees = read_number(value.get("rotation") or 0, f"{name}: rotation") % 360
    outline = ellipse(cx, cy, rx, ry, degrees)
    said = {**said, "attributes": {**said["attributes"], "ellipse": [cx, cy, rx, ry, degrees]}}
    return Annotation(name, *segmentation_bounds([outline]), segmentation=[outline], **said)


# ----------------------------------------------------------------------------------------------------------------- masks


def _brush(value: Mapping[str, Any], name: str, size: Size, said: dict[str, Any], budget: _Budget) -> Annotation:
    budget.pixels -= size[0] * size[1]
    if budget.pixels < 0:
        raise BadValueError(f"{name}: the masks of one task have more than {_MOST_MASK_PIXELS:,} pixels")
    mask = mask_of(decode_brush(value.get("rle"), size), (0, 0, *size), size)
    x, y, width, height = mask_bounds(mask)
    if not width:
        raise BadValueError(f"{name}: the mask is empty")
    return Annotation(name, float(x), float(y), float(width), float(height), segmentation=mask, **said)


def decode_brush(rle: Any, size: Size) -> bytes:
    """The pixels (0, 1) of a mask, row by row, from the bytes of thi.ng's rle-pack over RGBA values (its README has the layout).

    Bits: 32 the number of values, 5 the bits of a value less one, four times 4 the lengths of run counts less one; then for each run one bit
    (repeated or not), two bits for which length, the count less one, and the value once or each. A pixel is set when its alpha is 128 or more.
    """
    count = size[0] * size[1] * 4
    if not isinstance(rle, list) or len(rle) > _MOST_RLE_BYTES or not all(type(byte) is int and 0 <= byte < 256 for byte in rle):
        raise BadValueError("the runs of a mask are no list of bytes")
    if count > 4 * MOST_PIXELS:
        raise BadValueError(f"a mask of {size[0]} x {size[1]} pixels is not converted")
    bits = "".join(map(_BITS.__getitem__, rle))
    if len(bits) < 53 or int(bits[:32], 2) != count or int(bits[32:37], 2) + 1 != _WORD_BITS:
        raise BadValueError("the runs of a mask are not those of its size")
    lengths = [int(bits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    values = b"".join(_brush_runs(bits, lengths, count))
    if len(values) != count:
        raise BadValueError("the runs of a mask do not fill its size")
    return values[3::4].translate(_ALPHA)


def _brush_runs(bits: str, lengths: Sequence[int], count: int) -> Iterator[bytes]:
    at, done = 53, 0
    while done < count:
        if at + 3 > len(bits):
            return
        repeated, length = bits[at] == "1", lengths[int(bits[at + 1 : at + 3], 2)]
        run = int(bits[at + 3 : at + 3 + length] or "0", 2) + 1
        at += 3 + length
        end = at + _WORD_BITS * (1 if repeated else run)
        if end > len(bits) or done + run > count:
            return
        word = int(bits[at:end], 2).to_bytes((end - at) // 8, "big")
        yield word * run if repeated else word
        at, done = end, done + run


def encode_brush(mask: Mapping[str, Any]) -> list[int]:
    """A COCO mask as ``decode_brush`` reads it: RGBA of 255 where the mask is, of 0 elsewhere."""
    rows, (x, y, width, height) = rows_of(dict(mask))
    full_height, full_width = mask["size"]
    runs: list[list[int]] = [[0, (y * full_width + x) * 4]] if width else [[0, full_width * full_height * 4]]
    for row in range(height):
        for found in _RUNS.finditer(rows[row * width : (row + 1) * width]):
            _extend(runs, found[0][0] * 255, len(found[0]) * 4)
        gap = full_width - width if row < height - 1 else (full_height - y - height) * full_width + full_width - x - width
        _extend(runs, 0, gap * 4)
    bits = [f"{full_width * full_height * 4:032b}", f"{_WORD_BITS - 1:05b}", *(f"{length - 1:04b}" for length in _RLE_SIZES)]
    bits += [_run_bits(value, count) for value, count in runs if count]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def _extend(runs: list[list[int]], value: int, count: int) -> None:
    if runs[-1][0] == value:
        runs[-1][1] += count
    elif count:
        runs.append([value, count])


def _run_bits(value: int, count: int) -> str:
    """Runs of at most 65,536 values, each with the shortest count that holds it."""
    parts = []
    while count:
        run = min(count, 1 << _RLE_SIZES[-1])
        which = next(index for index, length in enumerate(_RLE_SIZES) if run <= 1 << length)
        parts.append(f"1{which:02b}{run - 1:0{_RLE_SIZES[which]}b}{value:08b}")
        count -= run
    return "".join(parts)


_BITS = [f"{byte:08b}" for byte in range(256)]
_ALPHA = bytes(int(value >= 128) for value in range(256))
_RUNS = re.compile(rb"\x00+|\x01+")


def percent_points(polygon: Iterable[float], size: Size) -> list[list[float]]:
    values = list(polygon)
    return [[x / size[0] * 100, y / size[1] * 100] for x, y in zip(values[::2], values[1::2], strict=True)]

"""Pascal VOC to the letter of modelarts-spec 5: ``check_strict`` names every element that is missing, there twice, or not what it must be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from plugins.formats.listing import UnreadableFileError
from plugins.formats.masks import read_color
from plugins.formats.values import BadValueError, read_number
from plugins.formats.voc_read import SHAPES, parse_xml

_FLAGS = ("truncated", "occluded", "difficult")
_MOST_PROBLEMS = 1000


@dataclass
class _Checked:
    """An element with the path to it, for people: ``annotation/object[2]/bndbox``."""

    element: Element
    path: str

    def once(self, tag: str, *, needed: bool = True) -> tuple[_Checked | None, list[str]]:
        """The only child of that name, and what is wrong when there is none or several."""
        found = self.element.findall(tag)
        if len(found) == 1:
            return _Checked(found[0], f"{self.path}/{tag}"), []
        if found:
            return None, [f"{self.path}: there are {len(found)} <{tag}>"]
        return None, [f"{self.path}: <{tag}> is missing"] if needed else []

    @property
    def text(self) -> str:
        return (self.element.text or "").strip()


def check_strict(content: bytes | str, place: str = "") -> list[str]:
    """Every fault of one file, the place first: ``a.xml: annotation/object[2]/bndbox: there are 2 <ymin>``; [] for a file without."""
    prefix = f"{place}: " if place else ""
    try:
        root = parse_xml(content.encode() if isinstance(content, str) else content)
    except UnreadableFileError as error:
        return [f"{prefix}{error}"]
    if root.tag != "annotation":
        return [f"{prefix}the root is <{str(root.tag)[:40]}>, not <annotation>"]
    problems = []
    for problem in _document(_Checked(root, "annotation")):
        problems.append(prefix + problem)
        if len(problems) == _MOST_PROBLEMS:
            break
    return problems


def _document(root: _Checked) -> Iterator[str]:
    for tag in ("folder", "filename"):
        yield from _said(root, tag)
    size, missing = root.once("size")
    yield from missing
    limits: dict[str, float] = {}
    for side in ("width", "height", "depth") if size else ():
        number, wrong = _whole(size, side, least=1)  # type: ignore[arg-type]
        yield from wrong
        limits[side] = number or math.inf
    yield from _whole(root, "segmented", least=0, most=1)[1]
    source, wrong = root.once("mask_source", needed=False)
    yield from wrong
    for number, element in enumerate(root.element.findall("object"), start=1):
        yield from _object(_Checked(element, f"{root.path}/object[{number}]"), limits, masked=source is not None)


def _object(element: _Checked, limits: dict[str, float], *, masked: bool) -> Iterator[str]:
    yield from _said(element, "name")
    yield from _said(element, "pose")
    for flag in _FLAGS:
        yield from _whole(element, flag, least=0, most=1)[1]
    for share in ("confidence", "hard-coefficient"):
        yield from _number(element, share, needed=False, most=1.0)[1]
    yield from _mask_color(element, masked)
    shapes = [child for child in element.element if child.tag in SHAPES]
    if len(shapes) != 1:
        found = ", ".join(f"<{shape.tag}>" for shape in shapes) or "none"
        yield f"{element.path}: exactly one shape must be there, found {found}"
        return
    yield from _shape(_Checked(shapes[0], f"{element.path}/{shapes[0].tag}"), limits)


def _mask_color(element: _Checked, masked: bool) -> Iterator[str]:
    color, wrong = element.once("mask_color", needed=masked)
    yield from wrong
    if color is None:
        return
    if not masked:
        yield f"{element.path}: <mask_color> without a <mask_source>"
    try:
        read_color(color.text)
    except BadValueError as error:
        yield f"{color.path}: {error}"


def _shape(shape: _Checked, limits: dict[str, float]) -> Iterator[str]:
    tag = shape.element.tag
    if tag == "bndbox":
        yield from _box(shape, limits)
    elif tag == "circle":
        for name in ("cx", "cy"):
            yield from _number(shape, name)[1]
        radius, wrong = _number(shape, "r")
        yield from wrong
        if radius is not None and radius <= 0:
            yield f"{shape.path}: the radius is {radius:g}"
    elif tag == "point":
        numbered = "1" if shape.element.find("x1") is not None else ""
        yield from _corners(shape, [f"{axis}{numbered}" for axis in "xy"], limits)
    else:
        yield from _line(shape, limits)


def _box(shape: _Checked, limits: dict[str, float]) -> Iterator[str]:
    ends: dict[str, float] = {}
    for name in ("xmin", "ymin", "xmax", "ymax"):
        value, wrong = _number(shape, name, most=limits.get("width" if name[0] == "x" else "height", math.inf))
        yield from wrong
        if value is not None:
            ends[name] = value
    for axis in "xy":
        first, last = ends.get(f"{axis}min"), ends.get(f"{axis}max")
        if first is not None and last is not None and last < first:
            yield f"{shape.path}: {axis}max {last:g} lies before {axis}min {first:g}"


def _line(shape: _Checked, limits: dict[str, float]) -> Iterator[str]:
    """``x1 y1 x2 y2 ...``: numbered from 1 without a gap; a line has two points, a polygon three or more."""
    count = sum(child.tag[:1] == "x" for child in shape.element if isinstance(child.tag, str))
    least = 3 if shape.element.tag == "polygon" else 2
    if count < least or (shape.element.tag == "line" and count != 2):
        yield f"{shape.path}: there are {count} points"
    yield from _corners(shape, [f"{axis}{number}" for number in range(1, count + 1) for axis in "xy"], limits)


def _corners(shape: _Checked, names: list[str], limits: dict[str, float]) -> Iterator[str]:
    for name in names:
        yield from _number(shape, name, most=limits.get("width" if name[0] == "x" else "height", math.inf))[1]
    known = set(names)
    for child in shape.element:
        if isinstance(child.tag, str) and child.tag[:1] in "xy" and child.tag not in known:
            yield f"{shape.path}: <{child.tag}> does not belong to it"


def _said(element: _Checked, tag: str) -> Iterator[str]:
    child, wrong = element.once(tag)
    yield from wrong
    if child is not None and not child.text:
        yield f"{child.path}: is empty"


def _number(element: _Checked, tag: str, *, needed: bool = True, most: float = math.inf) -> tuple[float | None, list[str]]:
    child, wrong = element.once(tag, needed=needed)
    if child is None:
        return None, wrong
    try:
        value = read_number(child.text, f"<{tag}>")
    except BadValueError as error:
        return None, [f"{element.path}: {error}"]
    if not 0 <= value <= most:
        return value, [f"{child.path}: {value:g} lies outside of 0 to {most:g}"]
    return value, []


def _whole(element: _Checked, tag: str, *, least: int, most: float = math.inf) -> tuple[int | None, list[str]]:
    value, wrong = _number(element, tag)
    if value is None or wrong:
        return None, wrong
    if not value.is_integer() or not least <= value <= most:
        return None, [f"{element.path}/{tag}: {value:g} is not " + ("0 or 1" if most == 1 else "a whole number of at least 1")]
    return int(value), []

"""One Pascal VOC file, written strictly: it passes ``check_strict``, and ``voc_read`` reads it back equal.

Elements that VOC and ModelArts do not know stand behind those they do, for readers that pass over them: ``annotated-by``, ``creation-time``,
``crowd``, and values in ``tags`` and ``cks`` that are no text, marked ``type="json"``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from contracts.dataset import Annotation, Asset, Marks
from plugins.formats.left_out import LeftOut
from plugins.formats.masks import MaskPainter, voc_color
from plugins.formats.shapes import points_bounds
from plugins.formats.values import exact_sum, number_text
from plugins.formats.voc_read import NOT_SAID

_NOT_XML = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = re.compile(r"(?!(?i:xml))[A-Za-z_][A-Za-z0-9_.-]{0,100}")
_HARD = ("hard", "hard-coefficient", "hard-reasons")
_CLOSE_PX = 1e-6


@dataclass
class VocFile:
    """What one file is to say: a picture's ``annotations`` under the name that the picture has in the export.

    ``mask_source``: where the mask will lie, as the file shall name it. ``hard``: with the marks of hard examples.
    ``common``: keys that all annotations share and that somebody else writes (``annotated-by``, ``creation-time``).
    """

    file_name: str
    asset: Asset
    annotations: Sequence[Annotation]
    marks: Marks = Marks()
    mask_source: str = ""
    folder: str = "images"
    hard: bool = False
    with_marks: bool = True
    common: Mapping[str, Any] | None = None


def write_voc(file: VocFile, left_out: LeftOut) -> tuple[str, bytes | None]:
    """The XML, and the PNG with the masks when an annotation has one. What has no place is counted in ``left_out``."""
    painter = MaskPainter(file.asset.width, file.asset.height)
    objects: list[tuple[Annotation, str]] = []
    for annotation in file.annotations:
        if shape := _shape(file, annotation, len(objects) + 1, painter, left_out):
            objects.append((annotation, shape))
    mask = painter.png()
    colored = mask is None and bool(objects) and all(_is_color(annotation.attributes.get("mask_color")) for annotation, _ in objects)
    source = file.mask_source if mask else str(file.marks.tags.get("mask_source", "")) if colored else ""
    body = "".join(_object(file, number, *pair, masked=bool(mask), colored=bool(source)) for number, pair in enumerate(objects, start=1))
    return _head(file, source, segmented=any(annotation.segmentation for annotation, _ in objects)) + body + "</annotation>\n", mask


def _is_color(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{1,3},\d{1,3},\d{1,3}", value, re.ASCII) is not None


def last_pixel(first: float, length: float) -> str:
    """The inclusive end of ``length`` pixels from ``first``, exact in decimals."""
    if float(first).is_integer() and float(length).is_integer():
        return str(int(first) + int(length) - 1)
    return number_text(exact_sum(exact_sum(first, length), -1))


# ------------------------------------------------------------------------------------------------------------------ shape


def _shape(file: VocFile, annotation: Annotation, number: int, painter: MaskPainter, left_out: LeftOut) -> str:
    """The shape's element, '' for an annotation that VOC has no place for. Draws the outline where only a mask can hold it."""
    if annotation.shape == "image":
        left_out.add("image_labels", "labels of whole pictures have no place in VOC", file.file_name)
        return ""
    if annotation.shape == "circle":
        return _element("circle", zip(("cx", "cy", "r"), annotation.points, strict=True))
    if annotation.shape == "point":
        return _element("point", zip(("x", "y"), annotation.points, strict=True))
    if annotation.shape != "box":
        return _points(annotation.shape, annotation.points)
    rings = annotation.segmentation
    if isinstance(rings, list) and len(rings) == 1 and _is_ring(rings[0]):
        _note_box(file, annotation, rings[0], left_out)
        return _points("polygon", rings[0])
    if isinstance(rings, dict):
        reason = painter.paint(number, rings) if number <= MaskPainter.MOST else "masks beyond the 254th of a picture have no colour"
        if reason:
            left_out.add("outlines", f"boxes were written without their outlines: {reason}", file.file_name)
    elif rings:
        left_out.add(
            "outlines", "boxes were written without their outlines: outlines of several polygons have no place in VOC", file.file_name
        )
    if min(annotation.width, annotation.height) < 1:
        left_out.add("thin_boxes", "boxes thinner than a pixel have no place in VOC", file.file_name)
        return ""
    return _box(annotation)


def _is_ring(ring: Sequence[float]) -> bool:
    return len(ring) >= 6 and all(map(math.isfinite, ring))


def _note_box(file: VocFile, annotation: Annotation, ring: Sequence[float], left_out: LeftOut) -> None:
    box = (annotation.x, annotation.y, annotation.width, annotation.height)
    if any(abs(mine - theirs) > _CLOSE_PX for mine, theirs in zip(box, points_bounds(ring), strict=True)):
        left_out.add(
            "outline_boxes", "boxes that differ from the bounds of their outline were left out; the outline was written", file.file_name
        )


def _box(annotation: Annotation) -> str:
    ends = (last_pixel(annotation.x, annotation.width), last_pixel(annotation.y, annotation.height))
    angle = f"<rotate_angle>{number_text(annotation.angle)}</rotate_angle>" if annotation.angle else ""
    return (
        f"<bndbox><xmin>{number_text(annotation.x)}</xmin><ymin>{number_text(annotation.y)}</ymin>"
        f"<xmax>{ends[0]}</xmax><ymax>{ends[1]}</ymax>{angle}</bndbox>"
    )


def _points(tag: str, points: Sequence[float]) -> str:
    names = (f"{axis}{number}" for number in range(1, len(points) // 2 + 1) for axis in "xy")
    return _element(tag, zip(names, points, strict=True))


def _element(tag: str, values: Any) -> str:
    return f"<{tag}>{''.join(f'<{name}>{number_text(float(value))}</{name}>' for name, value in values)}</{tag}>"


# ----------------------------------------------------------------------------------------------------------------- object


def _object(file: VocFile, number: int, annotation: Annotation, shape: str, *, masked: bool, colored: bool) -> str:
    attributes = dict(annotation.attributes)
    color = ",".join(map(str, voc_color(number))) if masked else attributes.pop("mask_color") if colored else ""
    pose = attributes.pop("pose") if _is_pose(attributes.get("pose")) else "Unspecified"
    flags = {flag: int(attributes.pop(flag)) if attributes.get(flag) is True else 0 for flag in ("truncated", "occluded")}
    return (
        f"<object><name>{_text(annotation.class_name)}</name><pose>{_text(pose)}</pose><truncated>{flags['truncated']}</truncated>"
        f"<occluded>{flags['occluded']}</occluded><difficult>{int(annotation.difficult)}</difficult>"
        + _confidence(annotation, attributes)
        + _hard(file, attributes)
        + (f"<mask_color>{_text(color)}</mask_color>" if color else "")
        + shape
        + _others(file, annotation, attributes, in_box=shape.startswith("<bndbox"))
        + "</object>"
    )


def _is_pose(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() not in NOT_SAID and _is_plain(value)


def _confidence(annotation: Annotation, attributes: dict[str, Any]) -> str:
    value: Any = annotation.score if annotation.score is not None else attributes.get("confidence")
    if not _is_number(value) or not 0 <= value <= 1:
        return ""
    attributes.pop("confidence", None)
    return f"<confidence>{number_text(float(value))}</confidence>"


def _hard(file: VocFile, attributes: dict[str, Any]) -> str:
    """Takes the marks of a hard example out of the attributes; writes them when they are asked for."""
    values = {name: attributes.pop(name) for name in _HARD if name in attributes}
    return "".join(f"<{name}>{_hard_text(value)}</{name}>" for name, value in values.items()) if file.hard else ""


def _hard_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return number_text(float(value)) if _is_number(value) else _text(str(value))


def _others(file: VocFile, annotation: Annotation, attributes: dict[str, Any], *, in_box: bool) -> str:
    common = file.common or {}
    parts = []
    if annotation.quality != -1.0:
        parts.append(f"<box_quality>{number_text(annotation.quality)}</box_quality>")
    if annotation.angle and not in_box:
        parts.append(f"<rotate_angle>{number_text(annotation.angle)}</rotate_angle>")
    if annotation.crowd:
        parts.append("<crowd>1</crowd>")
    by, created = annotation.annotated_by, attributes.get("creation-time")
    if isinstance(created, str) and _is_plain(created):
        attributes.pop("creation-time")
        parts += [f"<creation-time>{_text(created)}</creation-time>"] if common.get("creation-time") != created else []
    if by and common.get("annotated-by") != by:
        parts.append(f"<annotated-by>{_text(by)}</annotated-by>")
    return "".join(parts) + write_map("tags", attributes)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= 1e7


# ------------------------------------------------------------------------------------------------------------------- head


def _head(file: VocFile, mask_source: str, *, segmented: bool) -> str:
    asset = file.asset
    return (
        f"<annotation><folder>{_text(file.folder)}</folder><filename>{_text(file.file_name)}</filename>"
        "<source><database>Unknown</database></source>"
        f"<size><width>{asset.width}</width><height>{asset.height}</height><depth>3</depth></size><segmented>{int(segmented)}</segmented>"
        + (f"<mask_source>{_text(mask_source)}</mask_source>" if mask_source else "")
        + (_tags(file.marks, mask_source) if file.with_marks else "")
        + (_hard_marks(file.marks) if file.hard else "")
    )


def _tags(marks: Marks, mask_source: str) -> str:
    tags = {name: value for name, value in marks.tags.items() if name != "mask_source" or not mask_source}
    quality = tags.pop("image_quality") if _is_quality(tags.get("image_quality")) else ""
    state = "<state>to_be_confirmed</state>" if marks.state == "to_be_confirmed" else ""
    return write_map("cks", tags) + (f"<image_quality>{quality}</image_quality>" if quality else "") + state


def _hard_marks(marks: Marks) -> str:
    parts = ["<hard>true</hard>"] if marks.hard else []
    if marks.hard_coefficient is not None:
        parts.append(f"<hard-coefficient>{number_text(marks.hard_coefficient)}</hard-coefficient>")
    if marks.hard_reasons:
        parts.append(f"<hard-reasons>{'-'.join(map(str, marks.hard_reasons))}</hard-reasons>")
    return "".join(parts)


def _is_quality(text: str | None) -> bool:
    return bool(text) and re.fullmatch(r"0\.\d{1,20}|1\.0{1,20}", str(text)) is not None


def write_map(tag: str, values: Mapping[str, Any]) -> str:
    """One child per key, '' for no key. See ``voc_read.read_map``."""
    children = "".join(_child(name, value) for name, value in values.items())
    return f"<{tag}>{children}</{tag}>" if children else ""


def _child(name: str, value: Any) -> str:
    named, tag = ("", name) if _TAG.fullmatch(name) else (f" name={quoteattr(_NOT_XML.sub('', name))}", "tag")
    if isinstance(value, str) and _is_plain(value):
        return f"<{tag}{named}>{escape(value)}</{tag}>"
    return f'<{tag}{named} type="json">{escape(json.dumps(value))}</{tag}>'


def _is_plain(text: str) -> bool:
    """Whether XML holds the text as it is, and a reader that strips it reads the same."""
    return bool(text) and text == text.strip() and not _NOT_XML.search(text)


def _text(text: str) -> str:
    """XML has no way at all to write most control characters."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))

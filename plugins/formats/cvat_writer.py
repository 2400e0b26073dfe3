"""Writes CVAT for images 1.1: ``annotations.xml`` and the pictures in ``images/<split>/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape, quoteattr

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export
from plugins.formats.geometry import bounds_differ, is_rectangle, rectangle_of, turn
from plugins.formats.losses import Losses
from plugins.formats.mask_runs import rows_of, runs_of
from plugins.formats.values import BadValueError
from plugins.formats.writing import PictureNames, is_seen, place_picture

_HELD = frozenset({"segmentation", "shape", "attributes", "annotated_by"})
_AUTHORS = {"human": "manual", "auto": "auto", "semi-auto": "semi-auto", "file": "file"}

Words = dict[str, Any]


def write_cvat(folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
    """As ``CvatFormat.write`` says."""
    losses, names = Losses("CVAT"), PictureNames()
    held = frozenset({"split", "predictions"} if export.predictions else {"split"})
    with (folder / "annotations.xml").open("w", encoding="utf-8") as file:
        file.write(_beginning(export))
        for number, sample in enumerate(samples):
            losses.note_sample(sample, held)
            name = names.name(sample)
            place_picture(sample, folder / "images" / sample.split / name, export)
            chosen = (sample.predictions or ()) if export.predictions else sample.annotations
            if is_seen(sample, export):
                _write_image(file, number, name, sample, chosen, losses)
        file.write("</annotations>\n")
    return losses.warnings()


def _beginning(export: Export) -> str:
    labels = "".join(f"<label><name>{escape(name)}</name><attributes></attributes></label>\n" for name in export.class_names)
    name = escape(f"{export.dataset}@{export.version}")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><name>{name}</name><mode>annotation</mode>\n<labels>\n{labels}</labels>\n</task></meta>\n"
    )


def _write_image(file: IO[str], number: int, name: str, sample: Sample, annotations: Iterable[Annotation], losses: Losses) -> None:
    split = {"subset": sample.split} if sample.split else {}
    words = {"id": number, "name": name, **split, "width": sample.asset.width, "height": sample.asset.height}
    file.write(f"  <image{_written(words)}>\n")
    group = max((box.attributes["group_id"] for box in annotations if type(box.attributes.get("group_id")) is int), default=0)
    for box in annotations:
        losses.note_annotation(box, _HELD)
        if isinstance(box.segmentation, list) and len(box.segmentation) > 1:
            group += 1
        for tag, words in _shapes(box, group, losses):
            _write_shape(file, tag, words, box, losses)
    file.write("  </image>\n")


def _write_shape(file: IO[str], tag: str, words: Words, box: Annotation, losses: Losses) -> None:
    said: Words = {"label": box.class_name}
    if box.annotated_by:
        said["source"] = _AUTHORS.get(box.annotated_by, "auto")
        if box.annotated_by not in _AUTHORS:
            losses.note("annotated_by")
    if tag != "tag":
        said["occluded"] = int(box.attributes.get("occluded") is True)
        said |= {word: box.attributes[word] for word in ("z_order", "group_id") if type(box.attributes.get(word)) is int}
    words = {**said, **words}
    file.write(f"    <{tag}{_written(words)}>{''.join(_attributes(box, tag, words, losses))}</{tag}>\n")


def _attributes(box: Annotation, tag: str, words: Words, losses: Losses) -> Iterable[str]:
    """As text, as CVAT has them; but for those that stand in the words of the shape."""
    for name, value in box.attributes.items():
        if (words.get(name) and name != "rotation") or (name == "ellipse" and tag == "ellipse") or (name == "rotation" and name in words):
            continue
        if not isinstance(value, (str, bool)):
            losses.note("types", "attributes of shapes that read back as text")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"<attribute name={quoteattr(_clean(name))}>{escape(_clean(text))}</attribute>"


def _shapes(box: Annotation, group: int, losses: Losses) -> list[tuple[str, Words]]:
    """The element of an annotation, or several in a group for an outline of several parts."""
    if box.shape == "image":
        return [("tag", {})]
    if box.shape == "point":
        return [("points", {"points": _points(box.points)})]
    if box.shape in ("line", "dashed", "polyline"):
        if box.shape == "dashed":
            losses.note("dashed", "dashed lines, which were written as lines")
        return [("polyline", {"points": _points(box.points)})]
    if box.shape == "circle":
        cx, cy, radius = box.points
        return [("ellipse", {"cx": cx, "cy": cy, "rx": radius, "ry": radius})]
    if isinstance(box.segmentation, dict):
        return [_mask(box, box.segmentation, losses)]
    return _outlines(box, group, losses) if box.segmentation else [("box", _sides(box.x, box.y, box.width, box.height))]


def _outlines(box: Annotation, group: int, losses: Losses) -> list[tuple[str, Words]]:
    polygons = box.segmentation if isinstance(box.segmentation, list) else []
    said = box.attributes.get("ellipse")
    if isinstance(said, list) and len(said) == 5 and len(polygons) == 1:
        return [("ellipse", dict(zip(("cx", "cy", "rx", "ry", "rotation"), said, strict=True)))]
    if "rotation" in box.attributes and len(polygons) == 1 and is_rectangle(polygons[0]):
        return [("box", _turned_box(polygons[0]))]
    if bounds_differ(box):
        losses.note("bounds", "boxes that differ from the bounds of their outlines")
    if len(polygons) == 1:
        return [("polygon", {"points": _points(polygons[0])})]
    return [("polygon", {"points": _points(polygon), "group_id": group}) for polygon in polygons]


def _turned_box(corners: list[float]) -> Words:
    """CVAT turns about the centre: the box before it was turned."""
    x, y, width, height, degrees = rectangle_of(corners)
    cx, cy = turn((x + width / 2, y + height / 2), degrees, (x, y))
    return {**_sides(cx - width / 2, cy - height / 2, width, height), "rotation": degrees}


def _sides(x: float, y: float, width: float, height: float) -> Words:
    return {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}


def _mask(box: Annotation, mask: dict[str, Any], losses: Losses) -> tuple[str, Words]:
    try:
        rows, (x, y, width, height) = rows_of(mask)
        if not width:
            raise BadValueError("the mask is empty")
    except BadValueError:
        losses.note("mask", "masks that are empty or too large, whose boxes were written")
        return "box", _sides(box.x, box.y, box.width, box.height)
    if (x, y, width, height) != (box.x, box.y, box.width, box.height):
        losses.note("bounds", "boxes that differ from the bounds of their outlines")
    return "mask", {"rle": ", ".join(map(str, runs_of(rows))), "left": x, "top": y, "width": width, "height": height}


def _points(values: Iterable[float]) -> str:
    values = list(values)
    return ";".join(f"{x!r},{y!r}" for x, y in zip(values[::2], values[1::2], strict=True))


def _written(words: Mapping[str, Any]) -> str:
    return "".join(f" {name}={quoteattr(_clean(str(value)))}" for name, value in words.items())


def _clean(text: str) -> str:
    """Without the characters that no XML file may hold."""
    return "".join(c for c in text if c in "\t\n\r" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff")

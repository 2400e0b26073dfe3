"""Annotations checked against their picture: what is no box is left out, what leaves the picture is clipped, each by name.

One-pixel overhangs are counted, not named: corners counted from 1 (half of the BCCD set) all end one pixel beyond the edge.

A label of the whole picture gets the picture as its box. Points and lines have no area: they only have to touch the picture. What is drawn
(points, outlines) stays as it was drawn; clipped is the box around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from contracts.dataset import SHAPES, Annotation
from contracts.seams import Skip

#: A box at most this wide or high is the trace of a click, not an object.
DEGENERATE_PX = 1.0
_NAMED_OVERHANG_PX = 1.0
_ROUNDING_PX = 0.01
_LONGEST_CLASS_NAME = 200


@dataclass
class CheckedBoxes:
    """``kept`` lie inside the picture; ``notes`` are what was skipped or mended; ``edge_count`` were clipped by a pixel at most."""

    kept: list[Annotation] = field(default_factory=list)
    notes: list[Skip] = field(default_factory=list)
    edge_count: int = 0


def check_boxes(place: str, annotations: Sequence[Annotation], width: int, height: int) -> CheckedBoxes:
    """The boxes of one picture of ``width`` x ``height`` pixels; ``place`` is its name in the source."""
    checked = CheckedBoxes()
    seen: set[tuple[object, ...]] = set()
    for number, annotation in enumerate(annotations, start=1):
        where = f"{place}#box {number}"
        reason = _fault(annotation)
        if reason:
            checked.notes.append(Skip(where, reason, "box"))
            continue
        clipped = _whole_picture(annotation, width, height) if annotation.shape == "image" else _clip(annotation, width, height)
        key = (clipped.class_name, clipped.shape, clipped.points, clipped.x, clipped.y, clipped.width, clipped.height)
        if _lies_outside(clipped):
            checked.notes.append(Skip(where, f"{_shown(annotation)} lies outside of the picture of {width} x {height}", "box"))
        elif key in seen:
            checked.notes.append(Skip(where, f"{_shown(annotation)} is there twice", "box"))
        else:
            seen.add(key)
            if annotation.shape != "image":
                _note_overhang(checked, where, annotation, width, height)
            checked.kept.append(clipped)
    return checked


def overhang_px(annotation: Annotation, width: int, height: int) -> float:
    """How far the box reaches beyond the picture at most; 0.0 or less when it lies inside."""
    if annotation.shape == "image":
        return 0.0
    return max(-annotation.x, -annotation.y, annotation.x + annotation.width - width, annotation.y + annotation.height - height)


def _fault(annotation: Annotation) -> str:
    """Why this is no box of any picture; '' when it may be one."""
    if not all(map(math.isfinite, (annotation.x, annotation.y, annotation.width, annotation.height, *annotation.points))):
        return f"{annotation.class_name}: a coordinate is not a finite number"
    name = annotation.class_name
    if not name.strip() or len(name) > _LONGEST_CLASS_NAME or not name.isprintable():
        return f"the class name is not usable: {name[:40]!r}"
    if annotation.shape not in SHAPES:
        return f"{_shown(annotation)} has the shape {annotation.shape[:40]!r}, which is none of {', '.join(SHAPES)}"
    if annotation.shape == "box" and min(annotation.width, annotation.height) <= DEGENERATE_PX:
        return f"{_shown(annotation)} has no area"
    if min(annotation.width, annotation.height) < 0:
        return f"{_shown(annotation)} ends before it begins"
    return ""


def _lies_outside(clipped: Annotation) -> bool:
    """Whether nothing is left inside of the picture. A point or an upright line that touches it has a side of 0."""
    shortest = min(clipped.width, clipped.height)
    return shortest <= DEGENERATE_PX if clipped.shape == "box" else shortest < 0


def _whole_picture(annotation: Annotation, width: int, height: int) -> Annotation:
    return replace(annotation, class_name=annotation.class_name.strip().lower(), x=0.0, y=0.0, width=float(width), height=float(height))


def _clip(annotation: Annotation, width: int, height: int) -> Annotation:
    left, top = max(0.0, annotation.x), max(0.0, annotation.y)
    right, bottom = min(float(width), annotation.x + annotation.width), min(float(height), annotation.y + annotation.height)
    name = annotation.class_name.strip().lower()
    if (left, top, right, bottom) == (annotation.x, annotation.y, annotation.x + annotation.width, annotation.y + annotation.height):
        return annotation if name == annotation.class_name else replace(annotation, class_name=name)
    return replace(annotation, class_name=name, x=left, y=top, width=right - left, height=bottom - top)


def _note_overhang(checked: CheckedBoxes, where: str, annotation: Annotation, width: int, height: int) -> None:
    overhang = overhang_px(annotation, width, height)
    if overhang > _NAMED_OVERHANG_PX:
        checked.notes.append(Skip(where, f"{_shown(annotation)} left the picture of {width} x {height} and was clipped", "mended"))
    elif overhang > _ROUNDING_PX:
        checked.edge_count += 1


def _shown(box: Annotation) -> str:
    return f"{box.class_name} at ({box.x:g}, {box.y:g}), {box.width:g} x {box.height:g} pixels,"

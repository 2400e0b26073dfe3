"""Shapes that labelling tools draw and that become outlines here: turned rectangles and ellipses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contracts.dataset import Annotation
from plugins.formats.run_length import segmentation_bounds

_ELLIPSE_POINTS = 72
_SAME_PX = 0.01


def turned(x: float, y: float, width: float, height: float, degrees: float, about: tuple[float, float]) -> list[float]:
    """The corners of a rectangle turned clockwise about a point, from its top left one: ``x1, y1, ..., x4, y4``."""
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return [value for corner in corners for value in turn(corner, degrees, about)]


def turn(point: tuple[float, float], degrees: float, about: tuple[float, float]) -> tuple[float, float]:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    dx, dy = point[0] - about[0], point[1] - about[1]
    return about[0] + dx * cosine - dy * sine, about[1] + dx * sine + dy * cosine


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float) -> list[float]:
    """An outline of 72 points on the ellipse."""
    angles = (2 * math.pi * index / _ELLIPSE_POINTS for index in range(_ELLIPSE_POINTS))
    points = ((cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles)
    return [value for point in points for value in turn(point, degrees, (cx, cy))]


def rectangle_of(corners: Sequence[float]) -> tuple[float, float, float, float, float]:
    """x, y, width, height and the degrees of turning (0 to 360) of the corners that ``turned`` gave, about the first corner."""
    x, y, x2, y2, x3, y3 = corners[:6]
    width, height = math.hypot(x2 - x, y2 - y), math.hypot(x3 - x2, y3 - y2)
    return x, y, width, height, math.degrees(math.atan2(y2 - y, x2 - x)) % 360


def is_rectangle(polygon: Sequence[float]) -> bool:
    """Whether four corners are those of a rectangle, drawn clockwise."""
    if len(polygon) != 8:
        return False
    x, y, width, height, degrees = rectangle_of(polygon)
    again = turned(x, y, width, height, degrees, (x, y))
    return all(abs(a - b) < _SAME_PX for a, b in zip(again, polygon, strict=True))


def bounds_differ(box: Annotation) -> bool:
    """Whether the box is another than the bounds of its polygons."""
    if not isinstance(box.segmentation, list):
        return False
    bounds = segmentation_bounds(box.segmentation)
    return any(abs(a - b) > _SAME_PX for a, b in zip(bounds, (box.x, box.y, box.width, box.height), strict=True))

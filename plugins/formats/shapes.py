"""Annotations of every shape from their points: what bounds a point, a line, a circle, an outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.dataset import Annotation
from plugins.formats.values import BadValueError

#: How many values the points of a shape may have; lines of any kind may bend.
_VALUES = {"point": (2, 2), "line": (4, 4), "circle": (3, 3), "dashed": (4, None), "polyline": (4, None)}


def shape_bounds(shape: str, points: Sequence[float]) -> tuple[float, float, float, float]:
    """x, y, width, height around the points of a drawn shape; width and height may be 0. Raises ``BadValueError`` for too few or too many."""
    least, most = _VALUES[shape]
    if len(points) < least or (most and len(points) > most) or (shape != "circle" and len(points) % 2):
        raise BadValueError(f"a {shape} has {len(points)} values")
    if shape == "circle":
        x, y, radius = points
        if radius <= 0:
            raise BadValueError(f"the radius of a circle is {radius:g}")
        return x - radius, y - radius, 2 * radius, 2 * radius
    return points_bounds(points)


def points_bounds(points: Sequence[float]) -> tuple[float, float, float, float]:
    """x, y, width, height around ``x1, y1, x2, y2, ...``."""
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def drawn(class_name: str, shape: str, points: Sequence[float], **others: Any) -> Annotation:
    """A point, line, dashed line, polyline or circle with the box around it."""
    return Annotation(class_name, *shape_bounds(shape, points), shape=shape, points=tuple(points), **others)


def outlined(class_name: str, polygon: Sequence[float], **others: Any) -> Annotation:
    """An outline of one polygon with the box around it. A last point that repeats the first is left out: outlines are closed anyway."""
    ring = list(polygon)
    if len(ring) > 6 and ring[:2] == ring[-2:]:
        ring = ring[:-2]
    if len(ring) < 6 or len(ring) % 2:
        raise BadValueError("a polygon has less than three points")
    return Annotation(class_name, *points_bounds(ring), segmentation=[ring], **others)

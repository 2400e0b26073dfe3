"""Pictures of an evaluation: precision over recall and the confusion matrix as PNG, and a page to look into both that needs no other file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 560, 60, 40, 20, 50
_INK, _GRID, _STRONG = (28, 39, 51), (220, 226, 232), (11, 99, 197)
_CONFUSION_PIXELS = 900
_MOST_NAMES = 60
#: A drawn curve has at most so many points; the table beside it has all.
_POINTS = 200


def pr_png(file: Path, title: str, curves: Sequence[tuple[str, NDArray[Any], NDArray[Any]]], mean: NDArray[Any] | None = None) -> None:
    """One line a class: name, recalls, precisions. ``mean``: (r, 2) recall and precision, drawn on top of them."""
    picture = Image.new("RGB", (_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    _axes(draw, font, title)
    for number, (_, recall, precision) in enumerate(curves):
        _line(draw, np.stack([recall, precision], axis=1), _color(number), 1)
    if mean is not None and len(mean):
        _line(draw, mean, _STRONG, 4)
    picture.save(file)


def _axes(draw: ImageDraw.ImageDraw, font: Any, title: str) -> None:
    for step in range(11):
        x, y = _LEFT + _WIDTH * step / 10, _TOP + _HEIGHT - _HEIGHT * step / 10
        draw.line([x, _TOP, x, _TOP + _HEIGHT], fill=_GRID)
        draw.line([_LEFT, y, _LEFT + _WIDTH, y], fill=_GRID)
        draw.text((x - 8, _TOP + _HEIGHT + 8), f"{step / 10:.1f}", fill=_INK, font=font)
        draw.text((_LEFT - 28, y - 6), f"{step / 10:.1f}", fill=_INK, font=font)
    draw.text((_LEFT, 12), _drawable(title), fill=_INK, font=font)
    draw.text((_LEFT + _WIDTH / 2 - 20, _TOP + _HEIGHT + 28), "recall", fill=_INK, font=font)
    draw.text((6, _TOP - 18), "precision", fill=_INK, font=font)


def _line(draw: ImageDraw.ImageDraw, points: NDArray[Any], color: tuple[int, int, int], width: int) -> None:
    kept = points[thinned(len(points))]
    if len(kept) > 1:
        draw.line([(_LEFT + r * _WIDTH, _TOP + _HEIGHT - p * _HEIGHT) for r, p in kept.tolist()], fill=color, width=width)


def confusion_png(file: Path, title: str, names: Sequence[str], cells: Sequence[tuple[int, int, int]]) -> None:
    """``cells``: row (true), column (predicted), count; shades are shares of a row. Names are written for up to 60 classes."""
    size = len(names)
    cell = max(1, _CONFUSION_PIXELS // max(size, 1))
    cell = min(cell, 60)
    margin = 150 if size <= _MOST_NAMES else 20
    picture = Image.new("RGB", (margin + size * cell + 20, margin + size * cell + 20), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    draw.text((8, 6), _drawable(title), fill=_INK, font=font)
    totals = np.zeros(size)
    for row, _, count in cells:
        totals[row] += count
    for row, column, count in cells:
        share = count / totals[row]
        shade = tuple(round(255 - (255 - part) * (0.08 + 0.92 * share)) for part in _STRONG)
        x, y = margin + column * cell, margin + row * cell
        draw.rectangle([x, y, x + cell - 1, y + cell - 1], fill=shade)
        if cell >= 28:
            draw.text((x + 3, y + cell / 2 - 6), str(count), fill="white" if share > 0.5 else _INK, font=font)
    draw.rectangle([margin - 1, margin - 1, margin + size * cell, margin + size * cell], outline=_GRID)
    if size <= _MOST_NAMES:
        _names(picture, draw, font, [_drawable(name) for name in names], margin, cell)
    picture.save(file)


def _names(picture: Image.Image, draw: ImageDraw.ImageDraw, font: Any, names: Sequence[str], margin: int, cell: int) -> None:
    for number, name in enumerate(names):
        place = margin + number * cell + cell / 2 - 6
        draw.text((8, place), name[:22], fill=_INK, font=font)
        upright = Image.new("RGB", (120, 14), "white")
        ImageDraw.Draw(upright).text((0, 0), name[:18], fill=_INK, font=font)
        picture.paste(upright.rotate(90, expand=True), (int(place), margin - 124))


def _drawable(text: str) -> str:
    """The font that ships with Pillow knows Latin letters; others are told by their escapes."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def _color(number: int) -> tuple[int, int, int]:
    turn = number * 137.5 / 180 * math.pi
    return tuple(round(150 + 75 * math.cos(turn + shift)) for shift in (0.0, 2.1, 4.2))  # type: ignore[return-value]


def thinned(count: int) -> NDArray[np.int64]:
    """Which of ``count`` points are drawn: all, or 200 evenly with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.int64)) if count else np.empty(0, np.int64)


def report_html(file: Path, data: Mapping[str, Any]) -> None:
    """The page with its data in it. ``data``: ``title``, ``about``, ``definitions`` and ``models``, each with ``name``, ``metrics``, ``curves``
    (``class``, ``ap``, ``points`` of recall, precision, confidence), ``names`` and ``confusion`` (row, column, count).

    SECURITY: class and picture names are somebody else's; as JSON without ``<`` they can end neither the script nor the page.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
    page = (files("analysis.evaluation") / "report.html").read_text(encoding="utf-8")
    file.write_text(page.replace("@DATA@", text, 1), encoding="utf-8")

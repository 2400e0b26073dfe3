"""Charts as PNG, drawn with Pillow: what a report shows, for slides and for whoever has no browser at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 400
#: Blue, orange, green, red, purple, brown: told apart also by most who are colour-blind (Okabe and Ito, in another order).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
_INK, _FAINT, _PAPER = "#222222", "#dddddd", "#ffffff"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 48, 64
_SHOWN_LABELS = 30


def draw_chart(chart: Mapping[str, Any]) -> Image.Image:
    """A histogram or bar chart (``analysis.histograms.chart``), 640 x 400. Several versions are drawn as shares, laid over each other."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(picture, "RGBA")
    series = [(entry["name"], _heights(entry["values"], len(chart["series"]) > 1)) for entry in chart["series"]]
    top = _nice(max((max(heights, default=0.0) for _, heights in series), default=0.0))
    _frame(draw, chart, top, shares=len(series) > 1)
    for index, (_, heights) in enumerate(series):
        _bars(draw, heights[: _bar_count(chart)], top, COLOURS[index % len(COLOURS)], index, len(series), chart["kind"])
    if len(series) > 1:
        _legend(draw, [name for name, _ in series])
    return picture


def sheet(charts: Sequence[Mapping[str, Any]], columns: int = 3) -> Image.Image:
    """All charts in one picture, row by row."""
    rows = max(1, math.ceil(len(charts) / columns))
    whole = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), _PAPER)
    for at, chart in enumerate(charts):
        whole.paste(draw_chart(chart), (at % columns * WIDTH, at // columns * HEIGHT))
    return whole


def number_text(value: float) -> str:
    """A number as it stands at an axis: 1.2M, 35k, 0.04."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 (times a power of ten) above a value: four even steps of it are short numbers."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def _bar_count(chart: Mapping[str, Any]) -> int:
    return len(chart["edges"]) - 1 if chart["kind"] == "histogram" else min(_SHOWN_LABELS, len(chart["labels"]))


def _heights(values: Sequence[int], shares: bool) -> list[float]:
    total = sum(values) if shares else 1
    return [value / total if total else 0.0 for value in values]


def _frame(draw: ImageDraw.ImageDraw, chart: Mapping[str, Any], top: float, *, shares: bool) -> None:
    """Title, grid and both axes."""
    hidden = 0 if chart["kind"] == "histogram" else len(chart["labels"]) - _bar_count(chart)
    draw.text((_LEFT, 12), _short(chart["title"], 50) + (f" (and {hidden} more)" if hidden else ""), _INK, _font(18))
    bottom = HEIGHT - _BOTTOM
    for step in range(5):
        y = bottom - (bottom - _TOP) * step / 4
        draw.line((_LEFT, y, WIDTH - _RIGHT, y), _FAINT)
        value = top * step / 4
        draw.text((_LEFT - 6, y), f"{100 * value:.3g} %" if shares else number_text(value), _INK, _font(11), anchor="rm")
    draw.line((_LEFT, bottom, WIDTH - _RIGHT, bottom), _INK)
    _ticks(draw, chart, bottom)
    draw.text(
        ((WIDTH + _LEFT) / 2, HEIGHT - 14),
        f"{chart['x']}   ({chart['y']})" if chart["x"] else f"({chart['y']})",
        _INK,
        _font(12),
        anchor="mm",
    )


def _ticks(draw: ImageDraw.ImageDraw, chart: Mapping[str, Any], bottom: float) -> None:
    count = _bar_count(chart)
    if chart["kind"] == "histogram":
        shift = 0.5 if chart["whole"] else 0.0
        for at in range(0, count + (0 if chart["whole"] else 1), max(1, math.ceil((count + 1) / 8))):
            x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (at + shift) / max(1, count)
            anchor = "ra" if at == count else "ma"
            draw.text((x, bottom + 6), number_text(chart["edges"][at] + shift), _INK, _font(11), anchor=anchor)
        return
    room = (WIDTH - _LEFT - _RIGHT) / max(1, count)
    for at, label in enumerate(chart["labels"][:count]):
        text = _short(str(label), max(2, int(room / 6.5)))
        draw.text((_LEFT + room * (at + 0.5), bottom + 6 + (14 if at % 2 and count > 6 else 0)), text, _INK, _font(11), anchor="ma")


def _bars(draw: ImageDraw.ImageDraw, heights: Sequence[float], top: float, colour: str, index: int, of: int, kind: str) -> None:
    """Histograms of several versions lie over each other, bars of classes stand side by side."""
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(heights))
    bottom = HEIGHT - _BOTTOM
    for at, height in enumerate(heights):
        left, right = _LEFT + room * at, _LEFT + room * (at + 1)
        if kind == "bars":
            inner = room * 0.8 / of
            left, right = left + room * 0.1 + inner * index, left + room * 0.1 + inner * (index + 1)
        if height > 0:
            y = bottom - (bottom - _TOP) * height / top
            draw.rectangle((left, y, max(left, right - 1), bottom), colour + ("ff" if kind == "bars" or of == 1 else "78"))


def _legend(draw: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    x = WIDTH - _RIGHT
    for index, name in reversed(list(enumerate(names))):
        text = _short(name, 24)
        x -= int(draw.textlength(text, _font(12))) + 8
        draw.text((x, 38), text, _INK, _font(12), anchor="lm")
        x -= 16
        draw.rectangle((x, 33, x + 10, 43), COLOURS[index % len(COLOURS)])


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _font(size: int) -> Any:
    """Pillow's own; letters that it lacks (Chinese) show as boxes, the web page of the report has them."""
    return ImageFont.load_default(size)

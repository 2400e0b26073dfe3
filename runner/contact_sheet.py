"""A contact sheet: the pictures of a job in a grid, with what the model found drawn over them, and what people drew in thin white.

Where a mining said why, each picture has its coefficient and reasons in words below it, and the boxes that are hard a thicker, red frame.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path, PurePath
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from contracts.dataset import Annotation, Sample
from contracts.errors import RequestError
from contracts.image import Kind
from contracts.results import MinedBox, MinedPicture
from registry.jobs import JobRecord
from registry.predictions import find_prediction
from runner import job_data
from runner.dataset_files import read_predictions
from runner.installation import Installation
from runner.labels import surest_label
from runner.mined import read_mined, words_of
from runner.stored_samples import StoredSamples

Colour = tuple[int, int, int]
# Images leave faint boxes too, for honest precision-recall curves; a person wants to see the ones to believe.
_LEAST_SCORE = 0.3
_CELL = 220
_CAPTION = 18
_LEGEND = 24
_MOST_LABELS = 12  # in one picture: more would hide it, and the colours tell the classes
_GAP = 6
_BACKGROUND = (250, 250, 248)
_INK = (40, 40, 40)
_TRUTH = (255, 255, 255)
_HARD = (200, 0, 30)
#: A box without reasons is drawn as hard from this hardness on.
_HARD_BOX = 0.5
_LINE, _LINE_LENGTH, _MOST_LINES = 14, 38, 9
# Colours that stay apart for most colour-blind readers (Okabe and Ito, 2008).
_PALETTE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def write(installation: Installation, job: JobRecord, file: Path, *, limit: int, columns: int) -> dict[str, Any]:
    """Writes the PNG: for mining the selected pictures in rank order, for inference those with most boxes first, or the least sure labels.

    Boxes with a score below 0.3 are not drawn.
    """
    result = job.result or {}
    if job.kind is Kind.TRAINING or not result:
        raise RequestError(f"the job {job.id} has no pictures to show", hint="Only mining and inference jobs that succeeded have.")
    samples = _samples(installation, job)
    predictions = _predictions(installation, job, result)
    chosen = _chosen(result, predictions, samples, limit)
    mined = _mined(result, [asset for asset, _ in chosen])
    colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(job.plan["class_names"])}
    shown = [(samples.get(asset), *_explained(predictions.get(asset, ()), caption, mined.get(asset))) for asset, caption in chosen]
    lines = max((len(captions) for *_, captions in shown), default=1)
    with installation.store.holding([sample.asset for sample, *_ in shown]):
        sheet = _grid([_cell(*cell, lines, colours) for cell in shown], columns, lines, colours)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, "PNG")
    return {"file": str(file), "images": len(chosen)}


def _samples(installation: Installation, job: JobRecord) -> StoredSamples:
    with installation.database.reading() as session:
        data = job_data.pin(session, job.plan["data"])
    return job_data.read(installation, data)


def _predictions(installation: Installation, job: JobRecord, result: dict[str, Any]) -> dict[str, tuple[Annotation, ...]]:
    """What the job predicted, else what it was given. Predictions that are gone are not drawn."""
    found = result.get("inference", result).get("predictions_file")
    if not found and job.plan.get("predictions"):
        with installation.database.reading() as session:
            record = find_prediction(session, job.plan["predictions"])
        found = installation.folder(record.file) if record else None
    by_asset = read_predictions(Path(found)) if found else {}
    return {
        asset: tuple(box for box in boxes if box.shape == "image" or (box.score or 0.0) >= _LEAST_SCORE)
        for asset, boxes in by_asset.items()
    }


def _mined(result: dict[str, Any], assets: Sequence[str]) -> dict[str, MinedPicture]:
    file = result.get("mining", result).get("reasons_file")
    return read_mined(Path(file), assets, boxes=True) if file else {}


@dataclass(frozen=True)
class Box:
    """A box to draw; ``hard`` ones are emphasised."""

    annotation: Annotation
    hard: bool = False


def _explained(boxes: Sequence[Annotation], caption: str, picture: MinedPicture | None) -> tuple[list[Box], list[str]]:
    """The boxes and the lines below the picture. Boxes that the mining speaks of stand for the predicted ones, also weak ones."""
    if picture is None:
        return [Box(box) for box in boxes], [_fitting(caption)]
    drawn = [Box(Annotation(b.class_name, b.x, b.y, b.width, b.height, score=b.score), _is_hard(b)) for b in picture.boxes]
    kept = [box for box in drawn if box.hard or (box.annotation.score or 0.0) >= _LEAST_SCORE]
    coefficient = "" if picture.coefficient is None else f"  coefficient {picture.coefficient:.3g}{'  hard' if picture.hard else ''}"
    rank = caption.partition("  ")[0] if coefficient else caption
    return kept or [Box(box) for box in boxes], [_fitting(rank + coefficient), *_wrapped(words_of(picture))]


def _is_hard(box: MinedBox) -> bool:
    return bool(box.reasons) or (box.hardness or 0.0) >= _HARD_BOX


def _wrapped(texts: Sequence[str]) -> list[str]:
    """The reasons as lines that fit below a picture, as many as there is room for."""
    lines = [line for text in texts for line in textwrap.wrap(f"- {text}", _LINE_LENGTH, subsequent_indent="  ")]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "- ..."]


def _chosen(
    result: dict[str, Any], predictions: dict[str, tuple[Annotation, ...]], samples: StoredSamples, limit: int
) -> list[tuple[str, str]]:
    """Asset ids with captions."""
    ranking = result.get("mining", result).get("ranking_file")
    if ranking:
        rows = pq.read_table(ranking).slice(0, limit).to_pylist()
        return [(row["asset"], f"#{row['rank']}  {_score(row['score'])}") for row in rows]
    first = nsmallest(limit, samples.ids.to_pylist(), key=lambda asset: (_order(predictions.get(asset, ())), asset))
    names = samples.names_of(first)
    return [
        (asset, f"{PurePath(name or asset[:12]).name}  {_count(predictions.get(asset, ()))}")
        for asset, name in zip(first, names, strict=True)
    ]


def _order(found: Sequence[Annotation]) -> float:
    """Most boxes first; of labelled pictures the least sure first."""
    label = surest_label(found)
    return -len(found) if label is None else label.score or 0.0


def _count(boxes: Sequence[Annotation]) -> str:
    if label := surest_label(boxes):
        return _label_text(label)
    return f"{len(boxes)} box" + ("" if len(boxes) == 1 else "es")


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.4g}"


def _cell(sample: Sample, boxes: Sequence[Box], captions: Sequence[str], lines: int, colours: Mapping[str, Colour]) -> Image.Image:
    cell = Image.new("RGB", (_CELL, _CELL + _height(lines)), _BACKGROUND)
    with Image.open(sample.path) as opened:
        picture = opened.convert("RGB")
    scale = min(_CELL / picture.width, _CELL / picture.height)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for box in (annotation for annotation in sample.annotations if annotation.shape != "image"):
        draw.rectangle(_corners(box, scale), outline=_TRUTH, width=1)
    _draw_label(draw, sample, [box.annotation for box in boxes], colours)
    for found in sorted((box for box in boxes if box.annotation.shape != "image"), key=lambda box: (box.hard, box.annotation.score or 0.0)):
        colour = colours.get(found.annotation.class_name, _PALETTE[0])
        _draw_prediction(draw, found, scale, colour, labelled=len(boxes) <= _MOST_LABELS)
    cell.paste(picture, ((_CELL - picture.width) // 2, (_CELL - picture.height) // 2))
    for row, caption in enumerate(captions):
        ImageDraw.Draw(cell).text((2, _CELL + 2 + row * _LINE), caption, fill=_INK, font=_font())
    return cell


def _height(lines: int) -> int:
    """Of the captions, in pixels."""
    return _CAPTION + (lines - 1) * _LINE


def _draw_label(draw: ImageDraw.ImageDraw, sample: Sample, found: Sequence[Annotation], colours: Mapping[str, Colour]) -> None:
    """The label of the whole picture as the model says it, with what people say where that is another, across its top."""
    guess, truth = surest_label(found), surest_label(sample.annotations)
    if guess:
        wrong = f", is {truth.class_name}" if truth and truth.class_name != guess.class_name else ""
        _draw_text(draw, (1, 0), f"{_label_text(guess)}{wrong}", colours.get(guess.class_name, _PALETTE[0]))
    elif truth:
        _draw_text(draw, (1, 0), truth.class_name, _TRUTH)


def _label_text(label: Annotation) -> str:
    return f"{label.class_name} {label.score:.2f}" if label.score is not None else label.class_name


def _draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: Colour) -> None:
    draw.rectangle(draw.textbbox(place, text, font=_font(10)), fill=colour)
    draw.text(place, text, fill=(0, 0, 0), font=_font(10))


def _draw_prediction(draw: ImageDraw.ImageDraw, found: Box, scale: float, colour: Colour, *, labelled: bool) -> None:
    box = found.annotation
    left, top, right, bottom = _corners(box, scale)
    if found.hard:
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=_HARD, width=2)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)
    if not labelled:
        return
    _draw_text(draw, (left + 1, max(0.0, top - 11)), _label_text(box), colour)


def _corners(box: Annotation, scale: float) -> tuple[float, float, float, float]:
    left, top = box.x * scale, box.y * scale
    return left, top, max(left, (box.x + box.width) * scale - 1), max(top, (box.y + box.height) * scale - 1)


def _fitting(caption: str) -> str:
    return caption if len(caption) <= 34 else f"…{caption[-33:]}"


def _font(size: int = 11) -> Any:
    return ImageFont.load_default(size)


def _grid(cells: Sequence[Image.Image], columns: int, lines: int, colours: Mapping[str, Colour]) -> Image.Image:
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    width, height = _CELL + _GAP, _CELL + _height(lines) + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, _LEGEND + max(1, rows) * height + _GAP), _BACKGROUND)
    _draw_legend(sheet, colours)
    for index, cell in enumerate(cells):
        sheet.paste(cell, (_GAP + index % columns * width, _LEGEND + _GAP + index // columns * height))
    return sheet


def _draw_legend(sheet: Image.Image, colours: Mapping[str, Colour]) -> None:
    """Class names in their colours, as many as the width holds."""
    draw, left = ImageDraw.Draw(sheet), float(_GAP)
    for name, colour in colours.items():
        right = left + 22 + draw.textlength(name, font=_font())
        if right > sheet.width:
            return
        draw.rectangle((left, 7, left + 11, 18), fill=colour)
        draw.text((left + 16, 5), name, fill=_INK, font=_font())
        left = right

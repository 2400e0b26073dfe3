"""Writes YOLO as Ultralytics reads it: ``images/<split>``, ``labels/<split>`` and ``data.yaml``.

Coordinates are shares of the picture with nine decimals: what is read back is at most a hundred-thousandth of a pixel away, in pictures of
up to 20,000 pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export
from plugins.formats.geometry import bounds_differ
from plugins.formats.losses import Losses
from plugins.formats.writing import PictureNames, is_seen, place_picture

_HELD = frozenset({"segmentation"})


def write_yolo(folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
    """As ``YoloFormat.write`` says."""
    losses, names = Losses("YOLO"), PictureNames()
    class_ids = {name: number for number, name in enumerate(export.class_names)}
    held = frozenset({"predictions"} if export.predictions else ())
    splits: dict[str, None] = {}
    for sample in samples:
        splits[sample.split] = None
        losses.note_sample(sample, held)
        name, place = names.name(sample), Path(sample.split or "unsplit")
        place_picture(sample, folder / "images" / place / name, export)
        chosen = (sample.predictions or ()) if export.predictions else sample.annotations
        if is_seen(sample, export):
            file = (folder / "labels" / place / name).with_suffix(".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_rows(chosen, sample, class_ids, losses), encoding="utf-8")
    (folder / "data.yaml").write_text(_description(splits, class_ids), encoding="utf-8")
    return losses.warnings()


def _description(splits: Iterable[str], class_ids: dict[str, int]) -> str:
    """Splits of other names are left out: no reader of the file would know what they are for."""
    entries = {split: f"images/{split}" for split in ("train", "val", "test", "pool") if split in splits}
    document: dict[str, Any] = {"path": ".", **entries, "names": {number: name for name, number in class_ids.items()}}
    return str(yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=10_000))


def _rows(annotations: Sequence[Annotation], sample: Sample, class_ids: dict[str, int], losses: Losses) -> str:
    """Readers take all rows of a file for outlines when one is, so that there boxes become outlines of four corners."""
    boxes = [box for box in annotations if box.shape != "image"]
    if len(boxes) < len(annotations):
        losses.note("image", count=len(annotations) - len(boxes))
    outlines = any(isinstance(box.segmentation, list) for box in boxes)
    rows = []
    for box in boxes:
        losses.note_annotation(box, _HELD)
        number = class_ids.setdefault(box.class_name, len(class_ids))
        values = _outline(box, losses) if outlines else _centre(box, losses)
        sides = (sample.asset.width, sample.asset.height)
        rows.append(" ".join([str(number), *(_share(value, sides[index % 2]) for index, value in enumerate(values))]))
    return "".join(f"{row}\n" for row in rows)


def _centre(box: Annotation, losses: Losses) -> list[float]:
    if box.segmentation is not None:
        losses.note("mask", "masks, whose boxes were written")
    return [box.x + box.width / 2, box.y + box.height / 2, box.width, box.height]


def _outline(box: Annotation, losses: Losses) -> list[float]:
    """The polygon; several become one, joined by lines without width, as rows are objects."""
    if not isinstance(box.segmentation, list):
        losses.note("corners", "boxes beside outlines, which were written as outlines of four corners")
        right, bottom = box.x + box.width, box.y + box.height
        return [box.x, box.y, right, box.y, right, bottom, box.x, bottom]
    if bounds_differ(box):
        losses.note("bounds", "boxes that differ from the bounds of their outlines")
    first, *others = box.segmentation
    if not others:
        return list(first)
    losses.note("parts", "objects of several outlines, which were joined into one")
    joined = [*first, *first[:2]]
    for polygon in others:
        joined += [*polygon, *polygon[:2], *first[:2]]
    return joined


def _share(value: float, side: int) -> str:
    return f"{value / side:.9f}".rstrip("0").rstrip(".")

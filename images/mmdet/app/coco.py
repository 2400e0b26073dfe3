"""The job's labelled pictures in COCO's form, a document for each split. Only Pillow beside plain Python.

Boxes are COCO's: x, y, width, height in pixels; category ids are positions in the class names.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from job_files.contract import DATASET_ERROR, IMAGE_FORMAT_ERROR, ImageError
from job_files.pictures import UNREADABLE, log
from PIL import Image

GRID = 32  # the sides of what the network sees are multiples of this
SMALLEST_AUTO_SIZE, LARGEST_AUTO_SIZE = 128, 640
AUTO_OBJECT_PIXELS = 24  # the auto size shows the smallest class's usual object with about this side

Document = dict[str, Any]


def read_split(rows: Sequence[Sequence[str]], class_names: Sequence[str], *, outlines: bool) -> Document:
    """The pictures of an index with their objects; what cannot be read is left out and logged.

    Each row names a picture and the COCO file that speaks of it by base name. Raises ImageError 300002 where no picture has an object,
    300003 where no picture can be read.
    """
    sources = {path: _by_file_name(read_document(Path(path))) for path in sorted({row[1] for row in rows if len(row) > 1 and row[1]})}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row in rows:
        path = Path(row[0])
        size = read_size(path)
        if size is None:
            continue
        images.append({"id": len(images) + 1, "file_name": str(path), "width": size[0], "height": size[1]})
        objects = sources.get(row[1], {}).get(path.name, []) if len(row) > 1 else []
        for found in _usable(objects, len(class_names), size, outlines):
            annotations.append({**found, "id": len(annotations) + 1, "image_id": images[-1]["id"]})
    if not images:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(rows)} pictures can be read, the first is {rows[0][0]}")
    if not annotations:
        raise ImageError(DATASET_ERROR, f"none of the {len(images)} pictures has an object of the classes {list(class_names)}")
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def labels_reader(class_count: int) -> Callable[[Path, Path], list[int]]:
    """Gives the class ids of a picture's objects, by the COCO file that speaks of it; each file is read once, as ``read_split`` reads it."""

    @functools.cache
    def objects_in(file: Path) -> dict[str, list[dict[str, Any]]]:
        return _by_file_name(read_document(file))

    def labels_of(picture: Path, file: Path) -> list[int]:
        labels = [found.get("category_id") for found in objects_in(file).get(picture.name, [])]
        return [label for label in labels if isinstance(label, int) and 0 <= label < class_count]

    return labels_of


def read_document(path: Path) -> Document:
    """A COCO file. Raises ImageError 300002 naming it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(DATASET_ERROR, f"{path} is not a readable COCO file: {error}") from error
    if not isinstance(document, dict) or not all(isinstance(document.get(part), list) for part in ("images", "annotations")):
        raise ImageError(DATASET_ERROR, f"{path} is not a COCO file: it has no lists images and annotations")
    return document


def read_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a picture that can be decoded; None, and a line in the log, for another."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.size
    except UNREADABLE as error:
        log(f"left out: {path} is not a readable picture: {error}")
        return None


def choose_image_size(document: Document) -> int:
    """A longest side, in pixels, at which the objects of the smallest class are still well visible; never above the pictures' own."""
    longest = {image["id"]: max(image["width"], image["height"]) for image in document["images"]}
    sides: dict[int, list[float]] = {}
    for found in document["annotations"]:
        width, height = found["bbox"][2:]
        sides.setdefault(found["category_id"], []).append((width * height) ** 0.5 / longest[found["image_id"]])
    own, smallest = median(longest.values()), min(median(shares) for shares in sides.values())
    wanted = min(max(AUTO_OBJECT_PIXELS / smallest, min(own, SMALLEST_AUTO_SIZE)), own, LARGEST_AUTO_SIZE)
    return max(GRID, round(wanted / GRID) * GRID)


def _by_file_name(document: Document) -> dict[str, list[dict[str, Any]]]:
    names = {image.get("id"): Path(str(image.get("file_name", ""))).name for image in document["images"] if isinstance(image, dict)}
    objects: dict[str, list[dict[str, Any]]] = {}
    for found in document["annotations"]:
        if isinstance(found, dict) and found.get("image_id") in names:
            objects.setdefault(names[found["image_id"]], []).append(found)
    return objects


def _usable(objects: Iterable[dict[str, Any]], class_count: int, size: tuple[int, int], outlines: bool) -> Iterable[dict[str, Any]]:
    """Objects of the job's classes with a box inside the picture; with ``outlines`` each has one, if only that of its box."""
    for found in objects:
        box, label = _clipped(found.get("bbox"), size), found.get("category_id")
        if box is None or not isinstance(label, int) or not 0 <= label < class_count:
            continue
        entry = {"category_id": label, "bbox": box, "area": found.get("area") or box[2] * box[3], "iscrowd": int(found.get("iscrowd") or 0)}
        if outlines:
            entry["segmentation"] = found.get("segmentation") or [outline_of(box)]
        yield entry


def _clipped(box: Any, size: tuple[int, int]) -> list[float] | None:
    try:
        x, y, width, height = (float(number) for number in box)
    except (TypeError, ValueError):
        return None
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, size[0]), min(y + height, size[1])
    return [left, top, right - left, bottom - top] if right - left >= 1 and bottom - top >= 1 else None


def outline_of(box: Sequence[float]) -> list[float]:
    """The four corners of a box, one after the other."""
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]

"""Predictions in the COCO form: segmentation and multi-modal (contract reference 5.5)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.dataset import Annotation, Asset
from contracts.ymir import rle
from contracts.ymir.candidates import Candidates
from contracts.ymir.malformed import malformed
from contracts.ymir.numbers import MAX_PIXEL, json_number
from contracts.ymir.tolerances import Tolerances, printable

_MISSING = object()


@dataclass
class _Reading:
    """One file on its way into predictions: where it is, what was tolerated and what its ids mean."""

    place: str
    tolerances: Tolerances
    images: Mapping[Any, Asset]
    categories: Mapping[Any, str]
    classes: frozenset[str]

    def note(self, code: str, message: str, example: str = "") -> None:
        self.tolerances.add(code, message, self.place, example)


def is_coco(document: Mapping[str, Any]) -> bool:
    """Whether the document has the two lists without which nothing can be read."""
    return isinstance(document.get("images"), list) and isinstance(document.get("annotations"), list)


def coco_predictions(
    document: Mapping[str, Any], candidates: Candidates, classes: frozenset[str], place: str, tolerances: Tolerances
) -> dict[str, list[Annotation]]:
    """The predictions by asset id, in the order of the file. Raises ``ResultMalformedError``."""
    images, categories, objects = (_objects(document, name, place) for name in ("images", "categories", "annotations"))
    reading = _Reading(place, tolerances, {}, {}, classes)
    reading.images = _images(images, candidates, reading)
    reading.categories = _categories(categories, reading)
    predictions: dict[str, list[Annotation]] = {asset.id: [] for asset in reading.images.values()}
    seen: set[tuple[Any, ...]] = set()
    for entry in objects:
        found = _prediction(entry, reading)
        if found is None:
            continue
        asset, annotation = found
        key = (asset.id, annotation.class_name, annotation.x, annotation.y, annotation.width, annotation.height)
        if key in seen:
            reading.note("infer_object_twice", "objects with the same picture, class and box as another were dropped")
            continue
        seen.add(key)
        predictions[asset.id].append(annotation)
    return predictions


def _objects(document: Mapping[str, Any], name: str, place: str) -> list[dict[str, Any]]:
    listed = document.get(name, [] if name == "categories" and not document.get("annotations") else None)
    if not isinstance(listed, list):
        raise malformed(place, f"{name} is {'missing' if name not in document else 'not a list'}")
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise malformed(place, f"{name}[{number}] is not an object")
    return listed


def _images(listed: Iterable[Mapping[str, Any]], candidates: Candidates, reading: _Reading) -> dict[Any, Asset]:
    images: dict[Any, Asset] = {}
    for number, entry in _unique(list(listed), "images", reading):
        file_name = entry.get("file_name")
        if not isinstance(file_name, str):
            raise malformed(reading.place, f"images[{number}].file_name is not a text")
        match = candidates.find(file_name)
        if match is None:
            reading.note("infer_unknown_image", "images that are no candidates were dropped", file_name)
            continue
        if match.by == "stem":
            reading.note("infer_image_matched", "images without their extension were matched by the rest of the name", file_name)
        images[entry["id"]] = candidates.asset(match)
    return images


def _categories(listed: Iterable[Mapping[str, Any]], reading: _Reading) -> dict[Any, str]:
    categories: dict[Any, str] = {}
    for number, entry in _unique(list(listed), "categories", reading):
        if not isinstance(entry.get("name"), str):
            raise malformed(reading.place, f"categories[{number}].name is not a text")
        categories[entry["id"]] = printable(entry["name"].strip().lower())[:200]
    return categories


def _unique(listed: Sequence[Mapping[str, Any]], name: str, reading: _Reading) -> list[tuple[int, Mapping[str, Any]]]:
    """The entries whose id no other has: of an id that stands twice nobody can say which one is meant."""
    for number, entry in enumerate(listed):
        if not _is_id(entry.get("id")):
            raise malformed(reading.place, f"{name}[{number}].id is not a number or a text")
    counts = Counter(entry["id"] for entry in listed)
    for entry_id in (entry_id for entry_id, count in counts.items() if count > 1):
        reading.note(f"infer_{name}_same_id", f"{name} that share their id with others were dropped", str(entry_id))
    return [(number, entry) for number, entry in enumerate(listed) if counts[entry["id"]] == 1]


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool) and value == value


def _prediction(entry: Mapping[str, Any], reading: _Reading) -> tuple[Asset, Annotation] | None:
    asset = _meant(entry, "image_id", reading.images)
    class_name = _meant(entry, "category_id", reading.categories)
    if asset is None or class_name is None or (reading.classes and class_name not in reading.classes):
        what = "images" if asset is None else "classes"
        example = str(class_name or entry.get("category_id")) if asset else str(entry.get("image_id"))
        reading.note(f"infer_object_of_unknown_{what}", f"objects of {what} that the job does not have were dropped", example)
        return None
    box = _box(entry.get("bbox"), reading)
    if box is None:
        return None
    if "area" not in entry:
        reading.note("infer_area_missing", "objects without an area")
    score, segmentation = _score(entry, reading), _segmentation(entry.get("segmentation", _MISSING), asset, reading)
    return asset, Annotation(class_name, *box, score=score, segmentation=segmentation, crowd=entry.get("iscrowd") in (1, True))


def _meant(entry: Mapping[str, Any], name: str, known: Mapping[Any, Any]) -> Any:
    value = entry.get(name)
    return known.get(value) if _is_id(value) else None


def _box(listed: Any, reading: _Reading) -> tuple[float, float, float, float] | None:
    numbers = [json_number(value) for value in listed] if isinstance(listed, list) and len(listed) == 4 else [None]
    if any(n is None or not math.isfinite(n) or abs(n) > MAX_PIXEL for n in numbers):
        reading.note("infer_object_without_box", "objects without a bbox of four numbers were dropped", repr(listed)[:60])
        return None
    x, y, width, height = (float(n) for n in numbers if n is not None)
    if width <= 0 or height <= 0:
        reading.note("infer_box_without_area", "boxes without an area were dropped")
        return None
    return x, y, width, height


def _score(entry: Mapping[str, Any], reading: _Reading) -> float | None:
    """``confidence``, or ``score`` as COCO's own results have it; -1 is the contract's word for unknown."""
    if "confidence" not in entry and "score" in entry:
        reading.note("infer_score_name", "scores are named score instead of confidence")
    score = json_number(entry.get("confidence", entry.get("score", -1)))
    if score is None or not math.isfinite(score):
        reading.note("infer_confidence", "confidences that are no numbers are taken as unknown")
        return None
    if score == -1:
        return None
    if not 0 <= score <= 1:
        reading.note("infer_score_range", "scores outside [0, 1] were clamped", str(score))
    return min(1.0, max(0.0, score))


def _segmentation(value: Any, asset: Asset, reading: _Reading) -> list[list[float]] | dict[str, Any] | None:
    if value is _MISSING or value is None or value == {}:
        return None
    if isinstance(value, dict):
        return _mask(value, asset, reading)
    if isinstance(value, list):
        return _polygons(value, reading)
    reading.note("infer_segmentation_unreadable", "segmentations that are neither a mask nor polygons: the box alone is kept")
    return None


def _mask(value: Mapping[str, Any], asset: Asset, reading: _Reading) -> dict[str, Any] | None:
    """The mask over the picture's own height and width, as YMIR does; its ``size`` is only compared."""
    counts = value.get("counts")
    try:
        runs = rle.decompress(counts) if isinstance(counts, str) else _runs(counts)
    except ValueError:
        runs = []
    if sum(runs) != asset.width * asset.height:
        reading.note("infer_mask_does_not_fit", "masks that cannot be read or do not fit their picture: the box alone is kept")
        return None
    if not isinstance(counts, str):
        reading.note("infer_mask_uncompressed", "masks with a list of runs instead of the compressed text")
    if value.get("size") != [asset.height, asset.width]:
        reading.note("infer_mask_size", "masks whose size is not [height, width] of their picture; the picture's own is taken")
    return {"counts": counts if isinstance(counts, str) else rle.compress(runs), "size": [asset.height, asset.width]}


def _runs(counts: Any) -> list[int]:
    if not isinstance(counts, list) or not all(type(run) is int and 0 <= run < 2**40 for run in counts):
        raise ValueError("not a list of runs")
    return counts


def _polygons(value: list[Any], reading: _Reading) -> list[list[float]] | None:
    if value and not any(isinstance(ring, list) for ring in value):
        reading.note("infer_polygon_flat", "a polygon that is not inside a list of polygons")
        value = [value]
    rings = [ring for ring in map(_ring, value) if ring]
    if len(rings) < len(value):
        reading.note("infer_polygon_unreadable", "polygons that cannot be read were dropped; without any the box alone is kept")
    if not value:
        reading.note("infer_polygon_empty", "objects with an empty list of polygons: the box alone is kept")
    if len(rings) > 1:
        reading.note("infer_polygons", "objects of several polygons, where the contract has one")
    return rings or None


def _ring(value: Any) -> list[float] | None:
    numbers = [json_number(v) for v in value] if isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0 else [None]
    ring = [n for n in numbers if n is not None and math.isfinite(n) and abs(n) <= MAX_PIXEL]
    return ring if len(ring) == len(numbers) else None

"""Writes what Label Studio imports: tasks with annotations and pre-annotations, and the labelling interface for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export
from plugins.formats.coco_writer import extras_entry, marks_entry
from plugins.formats.geometry import bounds_differ, is_rectangle, rectangle_of
from plugins.formats.labelstudio_regions import encode_brush, percent_points
from plugins.formats.losses import KNOWN_SPLITS, Losses
from plugins.formats.values import BadValueError
from plugins.formats.writing import PictureNames, is_unlabeled, place_picture

_HELD = frozenset({"score", "segmentation", "crowd", "difficult", "quality", "angle", "shape", "attributes", "annotated_by"})
_HELD_OF_SAMPLES = frozenset({"state", "hard", "tags", "predictions"})
#: By kind of region: the tag of the interface and the name of its control.
_CONTROLS = {
    "rectanglelabels": ("RectangleLabels", "box"),
    "polygonlabels": ("PolygonLabels", "polygon"),
    "brushlabels": ("BrushLabels", "mask"),
    "ellipselabels": ("EllipseLabels", "ellipse"),
    "keypointlabels": ("KeyPointLabels", "point"),
}
_CHOICE = "class"
#: The model version of annotations that a person is to confirm.
PROPOSED = "to be confirmed"

Value = dict[str, Any]


def write_labelstudio(folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
    """As ``LabelStudioFormat.write`` says."""
    losses, names = Losses("Label Studio"), PictureNames()
    kinds: set[str] = set()
    with (folder / "tasks.json").open("w", encoding="utf-8") as file:
        separator = "[\n"
        for sample in samples:
            losses.note_sample(sample, _HELD_OF_SAMPLES if export.hard else _HELD_OF_SAMPLES - {"hard"})
            name = f"images/{sample.split or 'unsplit'}/{names.name(sample)}"
            place_picture(sample, folder / name, export)
            task = _task(sample, name, export, kinds, losses)
            file.write(separator + json.dumps(task, ensure_ascii=False, allow_nan=False))
            separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")
    (folder / "label_config.xml").write_text(_interface(kinds, export), encoding="utf-8")
    return losses.warnings()


def _task(sample: Sample, name: str, export: Export, kinds: set[str], losses: Losses) -> Value:
    """Tasks that are to be confirmed carry their annotations as a prediction: a person opens them pre-annotated and submits."""
    proposed = sample.marks.state == "to_be_confirmed"
    data: Value = {"image": f"/data/local-files/?d={quote(name)}"}
    if sample.split in KNOWN_SPLITS:
        data["split"] = sample.split
    task: Value = {"data": data, "meta": marks_entry(sample.marks, export.hard), "annotations": [], "predictions": []}
    found = None if proposed else sample.predictions
    if proposed:
        if sample.predictions is not None:
            losses.note("predictions")
        task["predictions"].append({"model_version": PROPOSED, **_answer(sample.annotations, sample, kinds, losses)})
    elif not is_unlabeled(sample):
        task["annotations"].append(_answer(sample.annotations, sample, kinds, losses))
    if found is not None:
        model = next((box.annotated_by for box in found if box.annotated_by), export.dataset)
        task["predictions"].append({"model_version": model, "score": _mean(found), **_answer(found, sample, kinds, losses)})
    return task


def _answer(annotations: Sequence[Annotation], sample: Sample, kinds: set[str], losses: Losses) -> Value:
    """The regions, and whose they are: of all together where they agree."""
    author = max((box.annotated_by for box in annotations), default="human")
    return {"annotated_by": author, "result": _result(annotations, author, sample, kinds, losses)}


def _mean(boxes: Sequence[Annotation]) -> float:
    scores = [box.score for box in boxes if box.score is not None]
    return sum(scores) / len(scores) if scores else 0.0


def _result(annotations: Sequence[Annotation], author: str, sample: Sample, kinds: set[str], losses: Losses) -> list[Value]:
    size = (sample.asset.width, sample.asset.height)
    result: list[Value] = []
    for number, box in enumerate(annotations):
        losses.note_annotation(box, _HELD)
        for kind, value in _values(box, size, losses):
            kinds.add(kind)
            result.append(_region(f"r{number}", kind, value, box, author, size))
    return result


def _region(identity: str, kind: str, value: Value, box: Annotation, author: str, size: tuple[int, int]) -> Value:
    labels = "choices" if kind == "choices" else kind
    region: Value = {"id": identity, "type": kind, "to_name": "image"}
    region["from_name"] = _CHOICE if kind == "choices" else _CONTROLS[kind][1]
    if kind != "choices":
        region |= {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    region["value"] = {**value, labels: [box.class_name]}
    if box.score is not None:
        region["score"] = box.score
    own = {**extras_entry(box), **({"crowd": 1} if box.crowd else {})}
    own.pop("annotated_by", None)
    if box.annotated_by != author:
        own["annotated_by"] = box.annotated_by
    if "rotation" in value or kind == "ellipselabels":
        own["attributes"] = {name: said for name, said in box.attributes.items() if name not in ("rotation", "ellipse")}
    own = {name: said for name, said in own.items() if said != {}}
    return {**region, "meta": {"sluice": own}} if own else region


def _values(box: Annotation, size: tuple[int, int], losses: Losses) -> Iterator[tuple[str, Value]]:
    """The kind of region and its value in percents. What Label Studio cannot draw is given by its box."""
    if box.shape == "image":
        yield "choices", {}
    elif box.shape == "point":
        yield "keypointlabels", {**_corner(box.points[0], box.points[1], size), "width": 0.5}
    elif box.shape == "circle":
        cx, cy, radius = box.points
        yield "ellipselabels", _ellipse((cx, cy, radius, radius, 0.0), size)
    elif box.shape in ("line", "dashed", "polyline"):
        losses.note("shape")
        yield "rectanglelabels", _rectangle(box.x, box.y, box.width, box.height, size)
    elif isinstance(box.segmentation, dict):
        yield _mask(box, size, losses)
    elif box.segmentation:
        yield _outline(box, size, losses)
    else:
        yield "rectanglelabels", _rectangle(box.x, box.y, box.width, box.height, size)


def _outline(box: Annotation, size: tuple[int, int], losses: Losses) -> tuple[str, Value]:
    polygons = box.segmentation if isinstance(box.segmentation, list) else []
    said = box.attributes.get("ellipse")
    if isinstance(said, list) and len(said) == 5 and len(polygons) == 1:
        return "ellipselabels", _ellipse(said, size)
    if "rotation" in box.attributes and len(polygons) == 1 and is_rectangle(polygons[0]):
        x, y, width, height, degrees = rectangle_of(polygons[0])
        return "rectanglelabels", {**_rectangle(x, y, width, height, size), "rotation": degrees}
    if bounds_differ(box):
        losses.note("bounds", "boxes that differ from the bounds of their outlines")
    if len(polygons) == 1:
        return "polygonlabels", {"points": percent_points(polygons[0], size), "closed": True}
    losses.note("parts", "objects of several outlines, of which the largest was written")
    largest = max(polygons, key=lambda polygon: (max(polygon[::2]) - min(polygon[::2])) * (max(polygon[1::2]) - min(polygon[1::2])))
    return "polygonlabels", {"points": percent_points(largest, size), "closed": True}


def _mask(box: Annotation, size: tuple[int, int], losses: Losses) -> tuple[str, Value]:
    mask = box.segmentation if isinstance(box.segmentation, dict) else {}
    try:
        if list(mask["size"]) != [size[1], size[0]]:
            raise BadValueError("the mask has another size than the picture")
        return "brushlabels", {"format": "rle", "rle": encode_brush(mask)}
    except BadValueError:
        losses.note("mask", "masks that are too large or of another size, whose boxes were written")
        return "rectanglelabels", _rectangle(box.x, box.y, box.width, box.height, size)


def _corner(x: float, y: float, size: tuple[int, int]) -> Value:
    return {"x": x / size[0] * 100, "y": y / size[1] * 100}


def _rectangle(x: float, y: float, width: float, height: float, size: tuple[int, int]) -> Value:
    return {**_corner(x, y, size), "width": width / size[0] * 100, "height": height / size[1] * 100, "rotation": 0}


def _ellipse(drawn: Sequence[float], size: tuple[int, int]) -> Value:
    """``drawn``: centre, radii and degrees."""
    cx, cy, rx, ry, degrees = drawn
    return {**_corner(cx, cy, size), "radiusX": rx / size[0] * 100, "radiusY": ry / size[1] * 100, "rotation": degrees}


def _interface(kinds: Iterable[str], export: Export) -> str:
    """A labelling interface with a control for each kind that occurs; boxes when none does."""
    chosen: Mapping[str, tuple[str, str]] = {kind: _CONTROLS[kind] for kind in _CONTROLS if kind in set(kinds)}
    if not chosen and "choices" not in kinds:
        chosen = {"rectanglelabels": _CONTROLS["rectanglelabels"]}
    lines = ["<View>", '  <Image name="image" value="$image"/>']
    for tag, name in chosen.values():
        labels = "".join(f"<Label value={quoteattr(label)}/>" for label in export.class_names)
        lines.append(f'  <{tag} name="{name}" toName="image">{labels}</{tag}>')
    if "choices" in kinds:
        choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in export.class_names)
        lines.append(f'  <Choices name="{_CHOICE}" toName="image" choice="multiple">{choices}</Choices>')
    return "\n".join([*lines, "</View>", ""])

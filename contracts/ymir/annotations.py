"""The three forms of boxes that an image can ask for: ARK text, VOC XML and one COCO JSON (contract reference 4.7 to 4.9).

All three hold whole pixels; boxes of classes that are not asked for are left out, and so are labels of whole pictures, which are no boxes
(``classification`` writes those). An image without boxes has an empty file, never none.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import escape

from contracts.dataset import Annotation, Asset, Sample
from contracts.ymir import rle
from contracts.ymir.layout import COCO_ANNOTATIONS, ContainerView
from contracts.ymir.tolerances import Tolerances

PixelBox = tuple[int, int, int, int]  # x, y, width, height

_PLACE = "annotations"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_NO_LICENSE = {"id": 1, "name": "", "url": ""}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def pixel_box(annotation: Annotation) -> PixelBox | None:
    """The box on whole pixels: each edge rounded to the nearest, at least one pixel in each direction. None for a box without an area."""
    if not all(map(math.isfinite, (annotation.x, annotation.y, annotation.width, annotation.height))):
        return None
    if annotation.width <= 0 or annotation.height <= 0:
        return None
    x, width = _pixel_span(annotation.x, annotation.width)
    y, height = _pixel_span(annotation.y, annotation.height)
    return x, y, width, height


def write_ark(samples: Iterable[Sample], class_ids: Mapping[str, int], annotations_dir: Path, tolerances: Tolerances) -> None:
    """``ab/<sha1>.txt`` for each sample: ``class_index, xmin, ymin, xmax, ymax, box_quality, rotate_angle`` with inclusive corners."""
    write_each(samples, annotations_dir, "txt", lambda sample: ark_text(sample, class_ids, tolerances))


def write_voc(
    samples: Iterable[Sample], class_ids: Mapping[str, int], annotations_dir: Path, view: ContainerView, tolerances: Tolerances
) -> None:
    """``ab/<sha1>.xml`` for each sample."""
    write_each(samples, annotations_dir, "xml", lambda sample: voc_text(sample, class_ids, view, tolerances))


def write_coco(samples: Iterable[Sample], class_ids: Mapping[str, int], annotations_dir: Path, tolerances: Tolerances) -> None:
    """One ``coco-annotations.json`` over all samples, which are in order and iterated twice. Written piece by piece: a million annotations
    need no memory.
    """
    present: set[int] = set()
    with (annotations_dir / COCO_ANNOTATIONS).open("w", encoding="utf-8") as file:
        write_readable(file, '{"images": ')
        _write_array(file, (_coco_image(number, sample.asset) for number, sample in enumerate(samples, start=1)))
        file.write(f', "licenses": {json.dumps([_NO_LICENSE])}, "annotations": ')
        _write_array(file, _coco_annotations(samples, class_ids, present, tolerances))
        categories = [{"id": i, "name": name, "supercategory": "object"} for name, i in class_ids.items() if i in present]
        file.write(f', "categories": {json.dumps(categories, ensure_ascii=False)}}}')


def ark_text(sample: Sample, class_ids: Mapping[str, int], tolerances: Tolerances) -> str:
    """One line for each box, '' for none."""
    return "".join(
        f"{class_id}, {x}, {y}, {x + width - 1}, {y + height - 1}, {_float32(annotation.quality, -1.0)}, {_float32(annotation.angle, 0.0)}\n"
        for class_id, annotation, (x, y, width, height) in _boxes(sample, class_ids, tolerances)
    )


def voc_text(sample: Sample, class_ids: Mapping[str, int], view: ContainerView, tolerances: Tolerances) -> str:
    """One line of XML without a declaration. ``truncated`` is YMIR's word ``unknown``."""
    asset = sample.asset
    objects = "".join(_voc_object(annotation, box) for _, annotation, box in _boxes(sample, class_ids, tolerances))
    return (
        f"<annotation><folder>folder</folder><filename>{_xml(view.asset(asset))}</filename>"
        "<source><annotation>unknown</annotation><image>unknown</image></source>"
        f"<size><width>{asset.width}</width><height>{asset.height}</height><depth>3</depth></size>"
        f"<segmented>0</segmented><image_quality>-1.0000</image_quality>{objects}</annotation>"
    )


def readable_folder(folder: Path) -> None:
    """The folder, which a container of any user may list, whatever the umask says."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def write_readable(file: TextIO, text: str) -> None:
    """Write into a new file, which a container of any user may read, whatever the umask says."""
    os.fchmod(file.fileno(), 0o644)
    file.write(text)


def _boxes(sample: Sample, class_ids: Mapping[str, int], tolerances: Tolerances) -> Iterator[tuple[int, Annotation, PixelBox]]:
    for annotation in sample.annotations:
        class_id = class_ids.get(annotation.class_name)
        if class_id is None:
            continue
        if annotation.shape == "image":
            message = "labels of whole pictures are no boxes and were not given to the image"
            tolerances.add("label_as_box", message, _PLACE, sample.name or sample.asset.id)
            continue
        box = pixel_box(annotation)
        if box is None:
            tolerances.add("box_without_area", "boxes without an area are not given to the image", _PLACE, sample.name or sample.asset.id)
            continue
        yield class_id, annotation, box


def _pixel_span(start: float, length: float) -> tuple[int, int]:
    first, end = math.floor(start + 0.5), math.floor(start + length + 0.5)
    if end <= first:  # thinner than a pixel: the pixel that its start lies in
        return math.floor(start), 1
    return first, end - first


def write_each(samples: Iterable[Sample], annotations_dir: Path, extension: str, text_of: Callable[[Sample], str]) -> None:
    """A small file ``ab/<sha1>.<extension>`` for each picture, and there may be a million: by the bare calls, which take half the time of ``open``."""
    made: set[str] = set()
    for sample in samples:
        folder = sample.asset.id[-2:]
        if folder not in made:
            readable_folder(annotations_dir / folder)
            made.add(folder)
        content = text_of(sample).encode()
        descriptor = os.open(f"{annotations_dir}/{folder}/{sample.asset.id}.{extension}", _NEW_FILE, 0o644)
        try:
            if os.fstat(descriptor).st_mode & 0o777 != 0o644:
                os.fchmod(descriptor, 0o644)
            while content:
                content = content[os.write(descriptor, content) :]
        finally:
            os.close(descriptor)


def _float32(value: float, unknown: float) -> float:
    """The value as YMIR holds it: a 32-bit float, printed by Python."""
    if not math.isfinite(value) or abs(value) > 3e38:
        return unknown
    narrowed: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return narrowed


def _voc_object(annotation: Annotation, box: PixelBox) -> str:
    x, y, width, height = box
    score = -1.0 if annotation.score is None else annotation.score
    return (
        f"<object><name>{_xml(annotation.class_name)}</name><pose>unknown</pose><truncated>unknown</truncated><occluded>0</occluded>"
        f"<bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + width - 1}</xmax><ymax>{y + height - 1}</ymax>"
        f"<rotate_angle>{_float32(annotation.angle, 0.0):.4f}</rotate_angle></bndbox><difficult>{int(annotation.difficult)}</difficult>"
        f"<box_quality>{_float32(annotation.quality, -1.0):.4f}</box_quality><confidence>{_float32(score, -1.0):.4f}</confidence></object>"
    )


def _xml(text: str) -> str:
    """XML has no way at all to write most control characters."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _write_array(file: TextIO, items: Iterable[Mapping[str, Any]]) -> None:
    separator = "["
    for item in items:
        file.write(separator + json.dumps(item, ensure_ascii=False))
        separator = ", "
    file.write("]" if separator == ", " else "[]")


def _coco_image(number: int, asset: Asset) -> dict[str, Any]:
    """``file_name`` has no directory: images join it with that of each index row."""
    return {
        "id": number,
        "file_name": asset.file_name,
        "width": asset.width,
        "height": asset.height,
        "date_captured": "",
        "license": 1,
        "coco_url": "",
        "flickr_url": "",
    }


def _coco_annotations(
    samples: Iterable[Sample], class_ids: Mapping[str, int], present: set[int], tolerances: Tolerances
) -> Iterator[dict[str, Any]]:
    """Adds every class that occurs to ``present``: only those become categories, so that ids may have gaps."""
    number = 0
    for image_id, sample in enumerate(samples, start=1):
        for class_id, annotation, box in _boxes(sample, class_ids, tolerances):
            number += 1
            present.add(class_id)
            yield _coco_annotation(number, image_id, class_id, annotation, box, sample, tolerances)


def _coco_annotation(
    number: int, image_id: int, class_id: int, annotation: Annotation, box: PixelBox, sample: Sample, tolerances: Tolerances
) -> dict[str, Any]:
    segmentation, area = _coco_segmentation(annotation, box, sample, tolerances)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": class_id,
        "iscrowd": int(annotation.crowd),
        "bbox": list(box),
        "confidence": -1.0 if annotation.score is None else annotation.score,
        "area": area,
        "segmentation": segmentation,
    }


def _coco_segmentation(annotation: Annotation, box: PixelBox, sample: Sample, tolerances: Tolerances) -> tuple[Any, int]:
    """The mask, the polygons, or ``{}`` for a plain box; with the area in pixels."""
    if isinstance(annotation.segmentation, dict):
        return _coco_mask(annotation.segmentation, box, sample, tolerances)
    rings = [
        [math.floor(v + 0.5) for v in ring] for ring in annotation.segmentation or () if len(ring) >= 6 and all(map(math.isfinite, ring))
    ]
    if not rings:
        return {}, box[2] * box[3]
    if len(rings) > 1:
        tolerances.add(
            "polygon_of_several_rings", "objects of several polygons; YMIR itself writes only one each", COCO_ANNOTATIONS, sample.name
        )
    return rings, sum(map(_ring_area, rings))


def _coco_mask(mask: Mapping[str, Any], box: PixelBox, sample: Sample, tolerances: Tolerances) -> tuple[Any, int]:
    asset, counts = sample.asset, mask.get("counts")
    try:
        runs = rle.decompress(counts) if isinstance(counts, str) else [int(run) for run in counts or ()]
    except (TypeError, ValueError):
        runs = []
    if sum(runs) != asset.width * asset.height or min(runs, default=-1) < 0:
        tolerances.add(
            "mask_does_not_fit", "masks that do not fit their picture are given as boxes", COCO_ANNOTATIONS, sample.name or asset.id
        )
        return {}, box[2] * box[3]
    text = counts if isinstance(counts, str) else rle.compress(runs)
    return {"counts": text, "size": [asset.height, asset.width]}, rle.area(runs)


def _ring_area(ring: Sequence[int]) -> int:
    xs, ys = ring[0::2], ring[1::2]
    return abs(sum(x * ys[i - 1] - xs[i - 1] * y for i, (x, y) in enumerate(zip(xs, ys, strict=False)))) // 2

"""Predictions in the two forms of infer-result.json: boxes, and COCO's with outlines. Only numpy and pycocotools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from job_files.evaluate import FloatArray, IntArray
from numpy.typing import NDArray


def describe(
    corners: FloatArray, scores: FloatArray, labels: IntArray, size: tuple[int, int], class_names: list[str], wanted: set[int]
) -> list[dict[str, Any]]:
    """Boxes of one picture as infer-result.json has them: whole pixels inside the picture, origin at the top left."""
    return [
        {
            "box": dict(zip("xywh", box, strict=True)),
            "class_name": class_names[label],
            "score": round(float(score), 6),
        }
        for box, label, score in zip(whole_boxes(corners, size), labels, scores, strict=True)
        if int(label) in wanted
    ]


def whole_boxes(corners: FloatArray, size: tuple[int, int]) -> list[list[int]]:
    """x, y, width, height in whole pixels inside the picture, at least one pixel each way."""
    low = np.minimum(np.floor(corners[:, :2] + 0.5).astype(int), np.array(size) - 1)
    high = np.maximum(np.minimum(np.floor(corners[:, 2:] + 0.5).astype(int), np.array(size)), low + 1)
    return [[int(number) for number in row] for row in np.concatenate([low, high - low], axis=1)]


@dataclass
class CocoDocument:
    """A COCO document that grows; masks are kept compressed."""

    class_names: list[str]
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def image_count(self) -> int:
        return len(self.images)

    @property
    def object_count(self) -> int:
        return len(self.annotations)

    def add_image(self, name: str, size: tuple[int, int]) -> int:
        self.images.append({"id": len(self.images) + 1, "file_name": name, "width": size[0], "height": size[1]})
        return len(self.images)

    def add_object(self, image_id: int, label: int, box: list[int], score: float, mask: NDArray[np.bool_] | None) -> None:
        """``mask`` (h, w) gives outline and area; without one, or where it is empty, the box does."""
        segmentation, area = encode(mask) if mask is not None and mask.any() else (_outline(box), float(box[2] * box[3]))
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": image_id,
                "category_id": label,
                "bbox": box,
                "area": area,
                "segmentation": segmentation,
                "iscrowd": 0,
                "confidence": round(score, 6),
            }
        )

    def to_json(self) -> str:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names)]
        return json.dumps({"images": self.images, "annotations": self.annotations, "categories": categories})


def coco_document(found: Iterable[Any], class_names: list[str], wanted: set[int]) -> CocoDocument:
    """The objects of the wanted classes, picture by picture (``infer.Found``)."""
    document = CocoDocument(class_names)
    for one in found:
        image_id = document.add_image(one.path.name, one.size)
        for row, box in enumerate(whole_boxes(one.corners, one.size)):
            if int(one.labels[row]) in wanted:
                mask = None if one.masks is None else one.masks[row]
                document.add_object(image_id, int(one.labels[row]), box, float(one.scores[row]), mask)
    return document


def encode(mask: NDArray[np.bool_]) -> tuple[dict[str, Any], float]:
    """COCO's compressed runs of a mask (h, w), and its pixels."""
    from pycocotools import mask as masks

    coded = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode()}, float(mask.sum())


def _outline(box: list[int]) -> list[list[int]]:
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]

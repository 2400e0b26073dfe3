"""The same question asked of pycocotools, which is what our numbers are compared with."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from analysis.evaluation.objects import Objects


def judged(
    truth: Objects, found: Objects, image_count: int, class_count: int, *, masks: bool = False
) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """COCOeval's precision (t, r, k, a, m), recall (t, k, a, m) and the twelve numbers."""
    document = {
        "images": [{"id": image, "width": 100, "height": 100} for image in range(image_count)],
        "categories": [{"id": label, "name": str(label)} for label in range(class_count)],
        "annotations": [
            {**_row(truth, row, masks), "id": row + 1, "area": float(truth.area[row]), "iscrowd": int(truth.crowd[row])}
            for row in range(len(truth))
        ],
    }
    results = [{**_row(found, row, masks), "score": float(found.score[row])} for row in range(len(found))]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = document
        gt.createIndex()
        dt = gt.loadRes(results) if results else _nothing(document)
        evaluation = COCOeval(gt, dt, "segm" if masks else "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.stats


def _row(objects: Objects, row: int, masks: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"segmentation": objects.mask[row]} if masks else {}
    if not masks or not len(objects.score):
        shape["bbox"] = [float(value) for value in objects.box[row]]
    return {"image_id": int(objects.image[row]), "category_id": int(objects.label[row]), **shape}


def _nothing(document: dict[str, Any]) -> COCO:
    """loadRes cannot read an empty list."""
    empty = COCO()
    empty.dataset = {**document, "annotations": []}
    empty.createIndex()
    return empty

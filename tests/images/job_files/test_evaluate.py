"""The average precision that detectors of ours measure themselves by says what pycocotools says."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from job_files import evaluate

CLASS_COUNT = 3


def _random_picture(boxes_type: Any, random: np.random.Generator) -> tuple[Any, Any]:
    """Ground truth and detections of one picture: shaken copies, doubles, wrong classes and boxes from nowhere."""
    count = int(random.integers(0, 12))
    corners = random.uniform(0, 150, (count, 2))
    truth = np.concatenate([corners, corners + random.uniform(5, 60, (count, 2))], 1)
    labels = random.integers(0, CLASS_COUNT, count)
    found = np.concatenate([truth, truth, truth[:3] + 90]) + random.normal(0, 4, (2 * count + len(truth[:3]), 4))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    found_labels = np.where(random.random(len(found)) < 0.85, np.resize(labels, len(found)) if count else 0, 1)
    scores = np.round(random.random(len(found)), 2)  # rounded: equal scores occur
    return boxes_type(truth, labels, np.ones(count)), boxes_type(found, found_labels.astype(int), scores)


def _average_precision_of_pycocotools(truth: list[Any], found: list[Any]) -> float:
    coco_module = pytest.importorskip("pycocotools.coco")
    cocoeval_module = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO()
        coco.dataset = {
            "images": [{"id": number + 1} for number in range(len(truth))],
            "categories": [{"id": label + 1} for label in range(CLASS_COUNT)],
            "annotations": [{**row, "id": number + 1, "iscrowd": 0} for number, row in enumerate(_rows(truth))],
        }
        coco.createIndex()
        evaluation = cocoeval_module.COCOeval(coco, coco.loadRes(_rows(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 2]  # IoU 0.5, every area, 100 boxes
    return float(precision[:, (precision > -1).all(axis=0)].mean())


def _rows(pictures: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": number + 1,
            "category_id": int(label) + 1,
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "area": float(np.prod(box[2:] - box[:2])),
            "score": float(score),
        }
        for number, boxes in enumerate(pictures)
        for box, label, score in zip(boxes.xyxy, boxes.labels, boxes.scores, strict=True)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_mean_ap_agrees_with_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = [_random_picture(evaluate.Boxes, random) for _ in range(20)]
    truth, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours = evaluate.evaluate(found, truth, CLASS_COUNT).mean_ap
    assert 0.1 < ours < 0.95
    assert ours == pytest.approx(_average_precision_of_pycocotools(truth, found), abs=1e-3)


def test_counts_are_of_boxes_at_or_above_the_confidence() -> None:
    truth = evaluate.Boxes(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 1]), np.ones(2))
    found = evaluate.Boxes(np.array([[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 0, 1]), np.array([0.9, 0.5, 0.2]))
    metrics = evaluate.evaluate([found], [truth], 2, conf_thr=0.5)
    assert (metrics.tp, metrics.fp, metrics.fn) == (1, 1, 1)


def test_a_class_without_ground_truth_does_not_count() -> None:
    truth = evaluate.Boxes(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.ones(1))
    assert evaluate.evaluate([truth], [truth], 5).ap_by_class == {0: 1.0}


def test_nothing_found_is_zero_and_nothing_to_find_is_zero() -> None:
    nothing = evaluate.Boxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    one = evaluate.Boxes(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.ones(1))
    assert evaluate.evaluate([nothing], [one], 1).mean_ap == 0.0
    assert evaluate.evaluate([one], [nothing], 1).mean_ap == 0.0

"""COCO's numbers for 5,000 images, 80 classes and 250,000 predictions, beside pycocotools; both start with their input in memory.

The floor is the least that any evaluation does: order the predictions, and compute each overlap once. Other evaluators are measured
where they are installed: faster-coco-eval, hotcoco. A run whose numbers are not those of pycocotools to 1e-6 is an error, not a time.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from analysis.evaluation.coco import coco
from analysis.evaluation.detection import evaluate_detection
from analysis.evaluation.objects import Objects, make_predictions, make_truths, order_of
from analysis.evaluation.overlap import overlaps
from benchmarks.measure import Cost, Row, compare, cost_of_call, rows_of

IMAGES, CLASSES, TRUTHS, PREDICTIONS = 5000, 80, 36_000, 250_000
#: At least ten times as fast.
GOAL = 0.1
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class _Set:
    """One test set as our columns and as the documents that the others read."""

    truth: Objects
    found: Objects
    images: int
    dataset: dict[str, Any]
    results: list[dict[str, Any]]


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    made = _make(*((n // 50 for n in (IMAGES, TRUTHS, PREDICTIONS)) if quick else (IMAGES, TRUTHS, PREDICTIONS)))
    expected = _pycocotools(made)
    pairs = 1 if quick else 3
    ours = _checked(lambda: list(coco(made.truth, made.found, CLASSES).summary().values()), expected)
    theirs = _checked(partial(_pycocotools, made), expected)
    case = f"{made.images} images, {CLASSES} classes, {len(made.found)} predictions"
    rows = rows_of(f"{case}, beside pycocotools", *compare(ours, theirs, pairs), goal=GOAL)
    rows = [replace(row, peers=_peers(made, expected, "processor" in row.case)) for row in rows]
    rows += rows_of(f"{case}, beside the floor", *compare(ours, lambda: cost_of_call(partial(_floor, made)), 5 * pairs), goal=None)
    names = [str(number) for number in range(CLASSES)]
    whole = partial(evaluate_detection, made.truth, made.found, names)
    costs = compare(lambda: cost_of_call(whole), theirs, 1)
    return rows + rows_of(f"{case}, with VOC, marks, curves and confusions, beside pycocotools", *costs, goal=None)


def _checked(numbers: Callable[[], Any], expected: Any) -> Callable[[], Cost]:
    """A timed call whose numbers are compared afterwards."""

    def call() -> Cost:
        kept: list[Any] = []
        cost = cost_of_call(lambda: kept.append(numbers()))
        found = [-1.0 if value is None else float(value) for value in kept[0]]
        if not np.allclose(found, expected, rtol=0, atol=_TOLERANCE):
            raise AssertionError(f"other numbers than pycocotools: {found} and {list(expected)}")
        return cost

    return call


def _floor(made: _Set) -> None:
    order_of(made.found.label, -made.found.score, made.found.image)
    overlaps(made.found, made.truth, made.found.group(CLASSES), made.truth.group(CLASSES), 0.5)


def _pycocotools(made: _Set) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = made.dataset
        truth.createIndex()
        return _run(COCOeval(truth, truth.loadRes(made.results), "bbox"))


def _faster(made: _Set) -> Any:
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(made.dataset)
        return _run(COCOeval_faster(truth, truth.loadRes(made.results), "bbox"))


def _hotcoco(made: _Set) -> Any:
    from hotcoco import COCO, COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(made.dataset)
        return _run(COCOeval(truth, truth.load_res(made.results), "bbox"))


def _run(evaluation: Any) -> Any:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.asarray(evaluation.stats)[:12]


def _peers(made: _Set, expected: Any, of_processor: bool) -> dict[str, float]:
    peers = {}
    for name, numbers in (("faster-coco-eval", _faster), ("hotcoco", _hotcoco)):
        with contextlib.suppress(ImportError):
            call = _checked(partial(numbers, made), expected)
            cost = min((call() for _ in range(3)), key=lambda cost: cost.cpu_s)
            peers[name] = round(cost.cpu_s if of_processor else cost.wall_s, 6)
    return peers


def _make(images: int, truths: int, predictions: int) -> _Set:
    """A detector that finds most objects, some of them twice, and much that is not there; classes are as uneven as in life."""
    random = np.random.default_rng(0)
    labels = random.zipf(1.3, 4 * (truths + predictions)) % CLASSES
    sizes = np.exp(random.normal(4, 1, (truths, 2))).clip(4, 600)
    boxes = np.concatenate([random.uniform(0, 1, (truths, 2)) * (640 - sizes), sizes], axis=1).round(2)
    truth = make_truths(random.integers(0, images, truths), labels[:truths], boxes, crowd=random.random(truths) < 0.01)
    of, near = random.integers(0, truths, predictions), random.random(predictions) < 0.4
    found = boxes[of] + 0.0
    found[:, :2] += random.normal(0, 0.1, (predictions, 2)) * found[:, 2:]
    found[:, 2:] *= np.exp(random.normal(0, 0.15, (predictions, 2)))
    image = np.where(near, truth.image[of], random.integers(0, images, predictions))
    label = np.where(near & (random.random(predictions) < 0.9), truth.label[of], labels[truths : truths + predictions])
    score = np.where(near, random.beta(2, 2, predictions), random.beta(1, 6, predictions)).round(3)
    guess = make_predictions(image, label, found.round(2), score)
    return _Set(truth, guess, images, _dataset(truth, images), _results(guess))


def _dataset(truth: Objects, images: int) -> dict[str, Any]:
    return {
        "images": [{"id": number, "width": 640, "height": 640} for number in range(images)],
        "categories": [{"id": number, "name": str(number)} for number in range(CLASSES)],
        "annotations": [
            {"id": row + 1, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
            for row, (image, label, box, area, crowd) in enumerate(
                zip(*(column.tolist() for column in (truth.image, truth.label, truth.box, truth.area, truth.crowd)), strict=True)
            )
        ],
    }


def _results(found: Objects) -> list[dict[str, Any]]:
    columns = (column.tolist() for column in (found.image, found.label, found.box, found.score))
    return [
        {"image_id": image, "category_id": label, "bbox": box, "score": score} for image, label, box, score in zip(*columns, strict=True)
    ]

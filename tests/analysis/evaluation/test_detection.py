"""A whole evaluation: what its document says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.evaluation.coco import coco
from analysis.evaluation.definitions import DEFINITIONS
from analysis.evaluation.detection import evaluate_detection
from analysis.evaluation.objects import InputError, make_predictions, make_truths
from tests.analysis.evaluation.worlds import world

TRUTH = make_truths([0, 1, 2], [0, 1, 0], [[0, 0, 20, 20], [0, 0, 50, 50], [0, 0, 200, 200]])
FOUND = make_predictions([0, 1, 2], [0, 1, 0], [[0, 0, 20, 20], [0, 0, 50, 50], [90, 90, 9, 9]], [0.9, 0.8, 0.7])


def test_every_number_has_a_definition_and_the_document_is_json() -> None:
    document = evaluate_detection(TRUTH, FOUND, ["cat", "dog"]).document
    assert document["definitions"].keys() >= document["metrics"].keys()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert all(len(text) > 10 for text in DEFINITIONS.values())


def test_sizes_tags_and_attributes_are_told_apart() -> None:
    tags = {"weather": ["rain", "sun", "sun"]}
    document = evaluate_detection(TRUTH, FOUND, ["cat", "dog"], image_tags=tags, attributes={"pose": ["left", "", "left"]}).document
    assert {name: part["recall"] for name, part in document["by_size"].items()} == {"small": 1, "medium": 1, "large": 0}
    rain, sun = document["by_tag"]["weather"]["rain"], document["by_tag"]["weather"]["sun"]
    assert (rain["images"], rain["AP"], rain["tp"], rain["fn"]) == (1, pytest.approx(1), 1, 0)
    assert (sun["images"], sun["tp"], sun["fp"], sun["fn"]) == (2, 1, 1, 1)
    assert document["by_attribute"]["pose"]["left"] == {"objects": 2, "tp": 1, "fn": 1, "recall": 0.5}


def test_a_tag_of_one_value_gives_the_numbers_of_the_whole() -> None:
    truth, found = world(5, images=6, classes=3, truths=50, predictions=150)
    document = evaluate_detection(truth, found, list("abc"), image_tags={"all": ["x"] * 6}).document
    part = document["by_tag"]["all"]["x"]
    assert {name: part[name] for name in document["metrics"]} == document["metrics"]


def test_classes_without_objects_or_predictions_are_there_with_what_is_known() -> None:
    rows = evaluate_detection(TRUTH, FOUND, ["cat", "dog", "owl"]).document["classes"]
    assert [(row["class"], row["objects"], row["AP"], row["best_f1"]) for row in rows][2] == ("owl", 0, None, None)


def test_two_thousand_classes_and_one() -> None:
    truth, found = world(6, images=4, classes=2000, truths=200, predictions=500)
    document = evaluate_detection(truth, found, [str(number) for number in range(2000)]).document
    assert len(document["classes"]) == 2000
    assert document["metrics"]["AP"] == pytest.approx(coco(truth, found, 2000).summary()["AP"])
    truth, found = world(7, images=4, classes=1, truths=20, predictions=50)
    assert evaluate_detection(truth, found, ["thing"]).document["classes"][0]["AP"] == pytest.approx(coco(truth, found, 1).summary()["AP"])


def test_what_coco_does_not_look_at_is_counted() -> None:
    found = make_predictions([0] * 130, [0] * 130, [[0, 0, 20, 20]] * 130, np.linspace(0, 1, 130))
    assert evaluate_detection(TRUTH, found, ["cat", "dog"]).document["predictions_beyond_coco_limit"] == 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iou": 0.0}, "iou"),
        ({"iou": 1.5}, "iou"),
        ({"confidence": float("nan")}, "confidence"),
        ({"class_names": ["cat"]}, "label: 1, but there are 1 classes"),
        ({"masks": True}, "mask: missing"),
        ({"attributes": {"pose": ["left"]}}, "1 values for 3 objects"),
        ({"found": TRUTH}, "score: missing"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evaluate_detection(**{"truth": TRUTH, "found": FOUND, "class_names": ["cat", "dog"], **change})

"""Masks, pixels and labels of whole pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation
from contracts.errors import DatasetError
from tests.runner.evaluations.conftest import World, box

SQUARE = [[10.0, 10, 30, 10, 30, 30, 10, 30]]
HALF = [[10.0, 10, 30, 10, 30, 20, 10, 20]]


def test_masks_are_compared_as_masks_and_their_boxes_beside_them(empty_world: World) -> None:
    empty_world.label({"a.jpg": [box("cat", 10, segmentation=SQUARE)]})
    empty_world.predict("i1", {"a.jpg": [box("cat", 10, 0.9, segmentation=HALF)]})
    made = empty_world.runner.evaluate(["i1"])
    assert made["kind"] == "instance"
    model = made["models"][0]
    assert model["overlap_of"] == "masks"
    assert model["metrics"]["AP"] == pytest.approx(0.1)  # half of the square: an overlap of 0.5
    assert model["boxes"]["AP"] == pytest.approx(1.0)


def test_a_mask_that_cannot_be_read_matches_nothing_when_predicted_and_is_refused_when_labelled(empty_world: World) -> None:
    empty_world.label({"a.jpg": [box("cat", 10, segmentation=SQUARE)]})
    broken: Any = {"size": [100, 100], "counts": [3]}
    empty_world.predict("i1", {"a.jpg": [box("cat", 10, 0.9, segmentation=broken)]})
    model = empty_world.runner.evaluate(["i1"])["models"][0]
    assert (model["unreadable_masks"], model["metrics"]["tp"], model["metrics"]["fp"]) == (1, 0, 1)
    empty_world.label({"a.jpg": [box("cat", 10, segmentation=broken)]}, "broken")
    with pytest.raises(DatasetError, match=r"a\.jpg of broken@V001 has a mask that cannot be used"):
        empty_world.runner.evaluate(["i1"], against="broken")


def test_boxes_alone_are_compared_where_no_masks_were_predicted(empty_world: World) -> None:
    empty_world.label({"a.jpg": [box("cat", 10, segmentation=SQUARE)]})
    empty_world.predict("i1", {"a.jpg": [box("cat", 10, 0.9)]})
    made = empty_world.runner.evaluate(["i1"])
    assert (made["kind"], made["models"][0]["metrics"]["AP"]) == ("detection", pytest.approx(1.0))


def test_pixels(empty_world: World) -> None:
    crowd = box("dog", 60, segmentation=[[60.0, 10, 80, 10, 80, 30, 60, 30]], crowd=True)
    empty_world.label({"a.jpg": [box("cat", 10, segmentation=SQUARE), crowd]}, tags={"a.jpg": {"weather": "rain"}})
    found = [box("cat", 10, 0.9, segmentation=HALF), box("dog", 60, 0.9, segmentation=[[60.0, 10, 80, 10, 80, 30, 60, 30]])]
    empty_world.predict("i1", {"a.jpg": found})
    model = empty_world.runner.evaluate(["i1"], kind="semantic", by=["weather"])["models"][0]
    assert model["metrics"] == pytest.approx({"aAcc": 0.5, "mAcc": 0.5, "mIoU": 0.5})  # what lies in the crowd does not count
    assert model["by_tag"]["weather"]["rain"]["mIoU"] == pytest.approx(0.5)
    whole = empty_world.runner.evaluate(["i1"], kind="semantic", background=True)["models"][0]
    assert whole["metrics"]["aAcc"] == pytest.approx(1 - 200 / (10_000 - 400))


def _label(name: str, score: float | None = None) -> Annotation:
    return Annotation(name, 0, 0, 100, 100, score=score, shape="image")


def test_one_label_a_picture(empty_world: World) -> None:
    empty_world.label({"a.jpg": [_label("cat")], "b.jpg": [_label("dog")], "c.jpg": [_label("dog")]}, tags={"a.jpg": {"weather": "rain"}})
    empty_world.predict("i1", {"a.jpg": [_label("cat", 0.6), _label("dog", 0.4)], "b.jpg": [_label("cat", 0.5), _label("dog", 0.3)]})
    made = empty_world.runner.evaluate(["i1"], by=["weather"])
    assert made["kind"] == "classification"
    model = made["models"][0]
    assert (model["metrics"]["accuracy"], model["metrics"]["top5_accuracy"]) == pytest.approx((1 / 3, 2 / 3))
    assert model["pictures_without_answer"] == 1
    assert model["by_tag"]["weather"]["rain"]["accuracy"] == 1
    assert (Path(made["folder"]) / "confusion-i1.png").exists()


def test_several_labels_a_picture(empty_world: World) -> None:
    empty_world.label({"a.jpg": [_label("cat"), _label("dog")], "b.jpg": []})
    empty_world.predict("i1", {"a.jpg": [_label("cat", 0.9), _label("dog", 0.1)], "b.jpg": []})
    metrics = empty_world.runner.evaluate(["i1"])["models"][0]["metrics"]
    assert (metrics["subset_accuracy"], metrics["micro_recall"]) == (0.5, 0.5)


def test_a_label_without_a_score_is_refused(empty_world: World) -> None:
    empty_world.label({"a.jpg": [_label("cat")]})
    empty_world.predict("i1", {"a.jpg": [_label("cat")]})
    with pytest.raises(DatasetError, match="labels without a score"):
        empty_world.runner.evaluate(["i1"])

"""ModelArts inference results: predictions in the files beside the pictures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Annotation
from contracts.seams import PredictedBy
from plugins.formats.inference_results import InferenceResultsFormat, read_result, result_text
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import UnreadableFileError
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats import exports
from tests.plugins.formats.exports import make_sample, mask, round_trip

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]

DETECTION = """{"detection_classes":["cat","cat"],
 "detection_boxes":[[117.56,335.99,270.51,469.01],[18.75,13.11,217.25,108.36]],
 "detection_scores":[0.518,0.469]}"""
CLASSIFICATION = '{"predicted_label":"dog","scores":[["dog","0.589"],["cat","0.411"]]}'


class TestInferenceResultsFormat(FormatConformance):
    holds: ClassVar[str] = "predictions"

    @pytest.fixture
    def format_(self) -> InferenceResultsFormat:
        return InferenceResultsFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for number in (1, 2, 3):
            make_picture(f"images/{number}.jpg", (500, 400))
        write("inference_results/1.jpg_result.txt", DETECTION)
        write("inference_results/2.jpg_result.txt", CLASSIFICATION)
        return folder


def test_results_are_predictions_and_a_picture_without_one_was_not_looked_at(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in ("1.jpg", "1.png", "2.jpg"):
        make_picture(f"images/{name}", (500, 400))
    write("inference_results/1.jpg_result.txt", DETECTION)
    write("inference_results/1.png_result.txt", '{"detection_classes":[],"detection_boxes":[],"detection_scores":[]}')
    found = list(InferenceResultsFormat().read(folder))
    read = {image.name: (image.annotations, image.predictions) for image in images(found)}
    assert read["images/2.jpg"] == (None, None)
    assert read["images/1.png"] == (None, ())
    assert [one.class_name for one in read["images/1.jpg"][1] or ()] == ["cat", "cat"]
    assert [item.model for item in found if isinstance(item, PredictedBy)] == ["inference_results"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "is not a JSON object"),
        ("{", "is not readable JSON"),
        ("{}", "has neither"),
        ('{"detection_classes":["a"],"detection_boxes":[],"detection_scores":[]}', "not equally long"),
        ('{"detection_classes":["a"],"detection_boxes":[[1,2,3,4]]}', "detection_scores is not a list"),
    ],
)
def test_a_result_that_cannot_be_read_costs_its_picture_and_no_other(
    folder: Path, make_picture: MakePicture, write: Write, text: str, reason: str
) -> None:
    make_picture("images/1.jpg")
    make_picture("images/2.jpg")
    write("inference_results/1.jpg_result.txt", text)
    write("inference_results/2.jpg_result.txt", CLASSIFICATION)
    found = list(InferenceResultsFormat().read(folder))
    assert [image.name for image in images(found)] == ["images/2.jpg"]
    assert [skip.place for skip in skips(found)] == ["inference_results/1.jpg_result.txt", "images/1.jpg"]
    assert reason in skips(found)[0].reason


def test_a_broken_box_is_named_with_its_place() -> None:
    boxes = [[1, 2, 3, 4], [3, 2, 1, 4], ["a", 2, 3, 4], [1, 2, 3], [1, 2, 3, 4]]
    scores = [0.5, 0.5, 0.5, 0.5, 7]
    found, notes = read_result(json.dumps({"detection_classes": list("abcde"), "detection_boxes": boxes, "detection_scores": scores}))
    assert [one.class_name for one in found] == ["a"]
    assert [place for place, _ in notes] == [f"detection_boxes[{index}]" for index in (1, 2, 3, 4)]


def test_the_predicted_label_counts_where_another_is_surer() -> None:
    found, notes = read_result('{"predict_label": "cat", "scores": [["dog", "0.6"], ["cat", 0.4]]}')
    assert [(one.class_name, one.score, dict(one.attributes)) for one in found] == [("dog", 0.6, {}), ("cat", 0.4, {"predicted": True})]
    assert notes == []
    _, notes = read_result('{"predicted_label": "fox", "scores": [["dog", "0.6"]]}')
    assert notes == [("predicted_label", "fox has no confidence in scores")]


@given(st.lists(exports.boxes(score=st.floats(0, 1)), max_size=4))
def test_boxes_read_back_equal(predictions: list[Annotation]) -> None:
    left_out = LeftOut()
    found, notes = read_result(result_text(predictions, "a.png", left_out))
    assert (list(found), notes, left_out.warnings()) == (predictions, [], [])


@given(st.dictionaries(st.sampled_from(exports.CLASSES), st.floats(0, 1), min_size=1))
def test_labels_of_pictures_read_back_equal(scores: dict[str, float]) -> None:
    labels = [Annotation(name, 0, 0, 0, 0, score=score, shape="image") for name, score in scores.items()]
    found, notes = read_result(result_text(labels, "a.png", LeftOut()))
    assert (list(found), notes) == (labels, [])


def test_what_the_layout_cannot_hold_is_said() -> None:
    with tempfile.TemporaryDirectory() as aside:
        outlined = Annotation("cat", 2, 2, 10, 8, score=0.5, segmentation=mask((2, 2, 12, 10)), attributes={"a": 1})
        label = Annotation("cat", 0, 0, 0, 0, score=0.5, shape="image")
        sample = make_sample(Path(aside), 1, annotations=(Annotation("cat", 1, 1, 5, 5),), predictions=(outlined, label), split="train")
        found, warnings, _ = round_trip(InferenceResultsFormat(), [sample])
    assert [warning.code for warning in warnings] == ["annotations", "splits", "image_labels", "outlines", "attributes"]
    assert images(found)[0].predictions == (Annotation("cat", 2, 2, 10, 8, score=0.5),)


def test_names_that_no_class_may_have_are_named() -> None:
    with pytest.raises(UnreadableFileError):
        read_result('{"detection_classes": 1, "detection_boxes": [], "detection_scores": []}')
    found, notes = read_result('{"detection_classes": ["\\ud800"], "detection_boxes": [[1,1,9,9]], "detection_scores": [1]}')
    assert (found, len(notes)) == ((), 1)

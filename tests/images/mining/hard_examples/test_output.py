"""output.manifest, Data/ and the task summary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples import Answer, Parameters, Question, find_hard_examples
from mining.hard_examples.output import OutputError, Picture, voc_xml, write_failure, write_output, write_summary
from PIL import Image

from contracts.seams import ImportedImage
from plugins.formats.manifest import ManifestFormat
from tests.images.mining.hard_examples.examples import boxes


def _pictures(folder: Path, ids: list[str]) -> dict[str, Picture]:
    folder.mkdir(exist_ok=True)
    for name in ids:
        Image.new("RGB", (100, 80), (len(name), 99, 9)).save(folder / f"{name}.jpg")
    return {name: Picture(folder / f"{name}.jpg", f"obs://bucket/{name}.jpg", 100, 80) for name in ids}


def _detection() -> tuple[Question, Answer]:
    found = [boxes((10, 20, 30, 60, 1, 0.5)), boxes((10, 20, 30, 60, 0, 0.95)), Boxes()]
    question = Question(["x", "sure", "none"], ("cat", "d<g"), found)
    return question, find_hard_examples(question)


def _classification(*names: str) -> tuple[Question, Answer]:
    question = Question(["x", "sure"], names or ("cat", "dog"), probabilities=np.array([[0.3, 0.6], [1.0, 0.0]]))
    return question, find_hard_examples(question)


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_hx_15_detection_copies_pictures_with_their_label_files(tmp_path: Path) -> None:
    question, answer = _detection()
    write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure", "none"]), "directory")
    assert _tree(tmp_path / "out") == ["Data/none.jpg", "Data/none.xml", "Data/x.jpg", "Data/x.xml", "output.manifest"]
    assert (tmp_path / "out/Data/x.jpg").read_bytes() == (tmp_path / "in/x.jpg").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "out/output.manifest").read_text().splitlines()]
    assert lines[0] == {
        "source": str(tmp_path / "out/Data/x.jpg"),
        "hard": True,
        "hard-reasons": "1",
        "hard-coefficient": 0.39,
        "annotation": [
            {
                "annotation-loc": str(tmp_path / "out/Data/x.xml"),
                "type": "modelarts/object_detection",
                "annotation-format": "PASCAL VOC",
                "annotated-by": "modelarts/hard_example_algo",
            }
        ],
    }
    assert (lines[1]["hard-reasons"], lines[1]["hard-coefficient"]) == ("0", 1.0)


def test_hx_15_classification_copies_pictures_into_a_folder_per_class(tmp_path: Path) -> None:
    question, answer = _classification()
    write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure"]), "directory")
    assert _tree(tmp_path / "out") == ["Data/dog/x.jpg", "output.manifest"]
    (line,) = [json.loads(line) for line in (tmp_path / "out/output.manifest").read_text().splitlines()]
    assert line["annotation"] == [
        {"name": "dog", "type": "modelarts/image_classification", "confidence": 0.6, "annotated-by": "modelarts/hard_example_algo"}
    ]


def test_hx_16_manifest_copies_no_picture_and_names_the_originals(tmp_path: Path) -> None:
    question, answer = _classification()
    write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure"]))
    assert _tree(tmp_path / "out") == ["output.manifest"]
    assert json.loads((tmp_path / "out/output.manifest").read_text())["source"] == "obs://bucket/x.jpg"
    question, answer = _detection()
    write_output(tmp_path / "boxes", answer, question, _pictures(tmp_path / "in", ["x", "sure", "none"]))
    assert _tree(tmp_path / "boxes") == ["annotations/none.xml", "annotations/x.xml", "output.manifest"]


def test_hx_17_the_summary_counts_what_went_in_and_what_came_out(tmp_path: Path) -> None:
    question, answer = _detection()
    write_output(tmp_path, answer, question, _pictures(tmp_path / "in", ["x", "sure", "none"]))
    write_summary(tmp_path / "logs/x.log", answer)
    said = json.loads((tmp_path / "logs/x.log").read_text())
    assert said == {
        "task_status": "SUCCEED",
        "total_sample": 3,
        "hard_sample": len((tmp_path / "output.manifest").read_text().splitlines()),
    }
    write_failure(tmp_path / "logs/x.log", 'there is no "model"')
    assert json.loads((tmp_path / "logs/x.log").read_text()) == {"task_status": "FAILED", "error_message": 'there is no "model"'}
    assert _tree(tmp_path / "logs") == ["x.log"]


def test_hx_17_nothing_hard_succeeds_with_an_empty_manifest(tmp_path: Path) -> None:
    question, _ = _classification()
    answer = find_hard_examples(question, Parameters(algo_hard_threshold=1.0))
    write_output(tmp_path, answer, question, _pictures(tmp_path / "in", ["x", "sure"]), "directory")
    assert (tmp_path / "output.manifest").read_text() == ""


def test_the_manifest_is_read_back_with_marks_and_boxes(tmp_path: Path) -> None:
    """By the reader that datasets are imported with (HX-18 in a container: tests/images/hard_examples)."""
    question, answer = _detection()
    write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure", "none"]), "directory")
    found = [item for item in ManifestFormat().read(tmp_path / "out") if isinstance(item, ImportedImage)]
    assert [(image.marks.hard, image.marks.hard_coefficient, image.marks.hard_reasons) for image in found] == [
        (True, 0.39, (1,)),
        (True, 1.0, (0,)),
    ]
    (annotation,) = found[0].annotations or ()
    assert (annotation.class_name, annotation.x, annotation.y, annotation.width, annotation.height) == ("d<g", 10, 20, 20, 40)


def test_two_pictures_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    question, answer = _detection()
    pictures = _pictures(tmp_path / "in", ["x", "sure"])
    other = _pictures(tmp_path / "in2", ["x"])
    with pytest.raises(OutputError, match=r"none and x would both be written to Data/x.jpg"):
        write_output(tmp_path / "out", answer, question, pictures | {"none": other["x"]}, "directory")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "folder"), [("../../evil", ".._.._evil"), ("a\\b", "a_b")])
def test_a_hostile_class_name_stays_inside(tmp_path: Path, name: str, folder: str) -> None:
    question, answer = _classification("cat", name)
    write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure"]), "directory")
    assert _tree(tmp_path / "out") == [f"Data/{folder}/x.jpg", "output.manifest"]


def test_a_class_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    question, answer = _classification("cat", "..")
    with pytest.raises(OutputError, match="cannot be a folder's name"):
        write_output(tmp_path / "out", answer, question, _pictures(tmp_path / "in", ["x", "sure"]), "directory")


def test_the_label_file_holds_what_the_specification_asks_for(tmp_path: Path) -> None:
    _, answer = _detection()
    text = voc_xml(answer.rows[0], ("cat", "d\x00<g"), _pictures(tmp_path / "in", ["x"])["x"]).decode()
    for tag in (
        "folder",
        "filename",
        "size",
        "width",
        "height",
        "depth",
        "segmented",
        "pose",
        "truncated",
        "occluded",
        "difficult",
        "bndbox",
    ):
        assert f"<{tag}>" in text
    assert "<confidence>0.5</confidence>" in text
    assert "<hard-coefficient>0.195</hard-coefficient>" in text
    assert "<name>d\ufffd&lt;g</name>" in text

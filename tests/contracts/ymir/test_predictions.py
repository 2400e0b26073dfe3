"""What a mining image is given beside its candidates: predictions in ModelArts' form, names, and what the model learnt from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.dataset import Annotation, JobInputs, Sample
from contracts.image import Kind, ObjectType, Wish, Wishes
from contracts.ymir import read_metadata, stage, wishes
from contracts.ymir.predictions import prediction_text
from contracts.ymir.tolerances import Tolerances
from tests.conformance.dialect import sample

MINING = b"export_predictions: required\nexport_training_data: optional # by name\nexport_format: ark:raw\n"


@pytest.fixture
def pictures(tmp_path: Path) -> list[Sample]:
    return [replace(sample(tmp_path, text), name=f"ride {text}.jpg") for text in ("one", "two", "three")]


def mining_job(pictures: list[Sample], **given: Any) -> JobInputs:
    parameters = {"export_format": "ark:raw"}
    return JobInputs("m1", Kind.MINING, ObjectType.DETECTION, ("cat", "dog"), parameters, candidates=pictures[:2], **given)


def staged(tmp_path: Path, inputs: JobInputs) -> tuple[Path, dict[str, Any]]:
    assert stage(inputs, tmp_path / "in", tmp_path / "out") == []
    return tmp_path / "in", yaml.safe_load((tmp_path / "in/env.yaml").read_text())["input"]


def text_of(*found: Annotation) -> tuple[Any, list[str]]:
    tolerances = Tolerances()
    return json.loads(prediction_text(found, tolerances)), [warning.code for warning in tolerances.warnings()]


def test_a_job_that_is_given_none_sees_no_word_of_them(tmp_path: Path, pictures: list[Sample]) -> None:
    in_dir, paths = staged(tmp_path, mining_job(pictures))
    assert "predictions_dir" not in paths
    assert "candidate_names_file" not in paths
    assert paths["training_index_file"] == ""
    assert sorted(path.name for path in in_dir.iterdir()) == sorted(
        ["annotations", "assets", "models", "predictions", "candidate-index.tsv", "config.yaml", "env.yaml"]
    )


def test_predictions_lie_in_a_file_each_beside_the_names_of_the_pictures(tmp_path: Path, pictures: list[Sample]) -> None:
    found = (Annotation("cat", 10, 20, 5.5, 4, score=0.25),)
    in_dir, paths = staged(
        tmp_path, mining_job(pictures, predictions=iter([(pictures[0].asset.file_name, found), (pictures[1].asset.file_name, ())]))
    )
    assert paths["predictions_dir"] == "/in/predictions"
    document = json.loads((in_dir / f"predictions/{pictures[0].asset.file_name}_result.txt").read_text())
    assert document == {"detection_classes": ["cat"], "detection_boxes": [[20.0, 10.0, 24.0, 15.5]], "detection_scores": [0.25]}
    nothing = json.loads((in_dir / f"predictions/{pictures[1].asset.file_name}_result.txt").read_text())
    assert nothing == {"detection_classes": [], "detection_boxes": [], "detection_scores": []}
    names = dict(line.split("\t") for line in (in_dir / "candidate-names.tsv").read_text().splitlines())
    assert names == {f"/in/assets/{one.asset.relative_path}": one.name for one in pictures[:2]}


def test_a_name_cannot_break_the_table_of_names(tmp_path: Path, pictures: list[Sample]) -> None:
    odd = [replace(pictures[0], name="a\tb\n/in/assets/x.jpg\tc"), pictures[1]]
    in_dir, _ = staged(tmp_path, mining_job(odd, predictions=iter(())))
    rows = [line.split("\t") for line in (in_dir / "candidate-names.tsv").read_text().splitlines()]
    assert [len(row) for row in rows] == [2, 2]


def test_training_data_of_a_mining_are_listed_and_may_share_pictures_with_the_candidates(tmp_path: Path, pictures: list[Sample]) -> None:
    in_dir, paths = staged(tmp_path, mining_job(pictures, train=pictures[1:]))
    assert paths["training_index_file"] == "/in/train-index.tsv"
    rows = [line.split("\t") for line in (in_dir / "train-index.tsv").read_text().splitlines()]
    assert sorted(Path(row[0]).name for row in rows) == sorted(one.asset.file_name for one in pictures[1:])
    for picture, annotation in rows:
        assert (tmp_path / picture[1:]).is_file()
        assert (tmp_path / annotation[1:]).read_text() == "0, 1, 2, 10, 21, -1.0, 0.0\n"
    assert all("\t" not in line for line in (in_dir / "candidate-index.tsv").read_text().splitlines())


def test_labels_are_written_with_confidences_as_text_and_the_meant_one_first() -> None:
    sure, meant = Annotation("dog", 0, 0, 0, 0, score=0.411, shape="image"), Annotation("cat", 0, 0, 0, 0, score=0.589, shape="image")
    assert text_of(sure, meant) == ({"predicted_label": "cat", "scores": [["cat", "0.589"], ["dog", "0.411"]]}, [])
    chosen = replace(sure, attributes={"predicted": True})
    assert text_of(chosen, meant)[0]["predicted_label"] == "dog"


def test_what_the_form_cannot_hold_is_named() -> None:
    outline = Annotation("cat", 1, 2, 3, 4, score=0.5, segmentation=[[1, 2, 4, 2, 4, 6]])
    label = Annotation("dog", 0, 0, 0, 0, score=0.9, shape="image")
    endless = Annotation("cat", float("nan"), 2, 3, 4, score=0.5)
    document, codes = text_of(outline, label, endless)
    assert document == {"detection_classes": ["cat"], "detection_boxes": [[2, 1, 6, 4]], "detection_scores": [0.5]}
    assert codes == ["prediction_label_beside_boxes", "prediction_outline"]


# ----------------------------------------------------------------------------------------------------------------- wishes


def test_a_template_says_what_its_image_wants() -> None:
    metadata = read_metadata({"mining-template.yaml": MINING})
    assert metadata.warnings == ()
    parameters = metadata.templates[0].defaults()
    assert wishes(Kind.MINING, parameters) == Wishes(Wish.REQUIRED, Wish.OPTIONAL)
    assert wishes(Kind.MINING_INFERENCE, parameters) == Wishes(Wish.REQUIRED, Wish.OPTIONAL)
    assert wishes(Kind.INFERENCE, parameters) == wishes(Kind.MINING, {}) == Wishes()


@pytest.mark.parametrize(("value", "warned"), [("no", 0), ("''", 0), ("Required", 0), ("maybe", 1), ("7", 1)])
def test_a_wish_that_nobody_knows_asks_for_nothing_and_is_named(value: str, warned: int) -> None:
    metadata = read_metadata({"mining-template.yaml": f"export_predictions: {value}\n".encode()})
    assert len(metadata.warnings) == warned
    wanted = Wish.REQUIRED if value == "Required" else Wish.NONE
    assert wishes(Kind.MINING, metadata.templates[0].defaults()).predictions is wanted


def test_a_wish_beside_a_training_means_nothing() -> None:
    metadata = read_metadata({"training-template.yaml": b"export_predictions: required\n"})
    assert metadata.warnings == ("training-template.yaml: export_predictions is for mining and means nothing here",)

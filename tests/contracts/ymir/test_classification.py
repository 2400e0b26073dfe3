"""Labels of whole pictures: what a training is given, and every form in which an inference may leave them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Asset, JobInputs
from contracts.errors import ResultError, ResultMalformedError, ResultMissingError
from contracts.image import Kind, ObjectType
from contracts.results import InferenceResult
from contracts.ymir import collect_inference, collect_training, read_metadata, stage
from contracts.ymir.model_info import model_info, quality_of, stage_info
from tests.contracts.samples import make_sample, training_inputs

A, B = (Asset(letter * 40, "jpg", 8, 6, 1) for letter in "ab")
CLASSES = ("cat", "dog", "hen")
CLASSIFICATION = ObjectType.CLASSIFICATION
LABELS = [{"class_name": "cat", "score": 0.8}, {"class_name": "dog", "score": 0.1}]


def label(name: str, score: float | None = None) -> Annotation:
    return Annotation(name, 0, 0, 8, 6, score=score, shape="image")


def job(folder: Path, *labels: str, export_format: str | None = "cls:raw", **changes: Any) -> JobInputs:
    """A training with one picture that has these labels, and one without any."""
    samples = [make_sample(folder, "first", tuple(map(label, labels)), (8, 6)), make_sample(folder, "second", (), (8, 6))]
    parameters = {"epochs": 1, **({"export_format": export_format} if export_format else {})}
    given: dict[str, Any] = {"object_type": CLASSIFICATION, "class_names": CLASSES, "train": samples, "val": [make_sample(folder, "third")]}
    return training_inputs(folder, parameters, **{**given, **changes})


def staged(inputs: JobInputs, work: Path) -> tuple[list[str], list[str]]:
    """The texts that the train index leads to, in its order, and the codes of the warnings."""
    warnings = stage(inputs, work / "in", work / "out")
    rows = [row.split("\t") for row in (work / "in" / "train-index.tsv").read_text().splitlines()]
    texts = {Path(picture).stem: Path(text.replace("/in/", f"{work}/in/")).read_text() for picture, text in rows}
    return [texts[sample.asset.id] for sample in inputs.train], [warning.code for warning in warnings]


# ---------------------------------------------------------------------------------------------------------------- staging


def test_labels_are_class_indices_a_line_and_no_label_is_an_empty_file(tmp_path: Path) -> None:
    assert staged(job(tmp_path, "hen", "cat"), tmp_path) == (["2\n0\n", ""], [])
    assert yaml.safe_load((tmp_path / "in" / "config.yaml").read_text())["object_type"] == 1


def test_an_image_that_does_not_say_gets_labels_with_a_warning(tmp_path: Path) -> None:
    assert staged(job(tmp_path, "dog", export_format=None), tmp_path) == (["1\n", ""], ["export_format_default"])


def test_labels_of_other_classes_and_boxes_are_left_out_of_labels(tmp_path: Path) -> None:
    inputs = job(tmp_path, "dog", "cow")
    box = Annotation("cat", 1, 1, 2, 2)
    inputs = replace(inputs, train=[replace(inputs.train[0], annotations=(box, *inputs.train[0].annotations)), inputs.train[1]])
    assert staged(inputs, tmp_path) == (["1\n", ""], ["box_as_label"])


@pytest.mark.parametrize("form", ["ark:raw", "voc:raw"])
def test_a_form_of_boxes_gives_a_classification_nothing_and_says_so(form: str, tmp_path: Path) -> None:
    texts, codes = staged(job(tmp_path, "dog", export_format=form), tmp_path)
    assert "<object>" not in texts[0]
    assert texts[0].splitlines() in ([], [texts[0]])
    assert codes == ["export_format_without_labels", "label_as_box"]


def test_labels_are_no_boxes_for_a_detection(tmp_path: Path) -> None:
    texts, codes = staged(job(tmp_path, "dog", export_format="ark:raw", object_type=ObjectType.DETECTION), tmp_path)
    assert (texts, codes) == (["", ""], ["label_as_box"])


def test_a_detection_that_asks_for_labels_is_told_that_it_gets_no_boxes(tmp_path: Path) -> None:
    inputs = job(tmp_path, object_type=ObjectType.DETECTION)
    inputs = replace(inputs, train=[replace(inputs.train[0], annotations=(Annotation("cat", 1, 1, 2, 2),)), inputs.train[1]])
    assert staged(inputs, tmp_path) == (["", ""], ["export_format_without_boxes", "box_as_label"])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(st.sampled_from([*CLASSES, "cow"]), max_size=6))
def test_what_is_staged_reads_back_as_the_labels_in_their_order(labels: list[str], tmp_path: Path) -> None:
    (text, _), _ = staged(job(tmp_path, *labels), tmp_path)
    read = [CLASSES[int(line)] for line in text.splitlines()]
    assert read == [name for name in dict.fromkeys(labels) if name in CLASSES]


def test_an_image_of_classification_is_read(tmp_path: Path) -> None:
    files = {"manifest.yaml": b"object_type: [1, 2]", "cls/infer-template.yaml": b"top: 5", "det/infer-template.yaml": b"conf: 0.5"}
    metadata = read_metadata(files)
    assert (metadata.object_types, metadata.warnings) == ((CLASSIFICATION, ObjectType.DETECTION), ())
    template = metadata.find_template(Kind.INFERENCE, CLASSIFICATION)
    assert template is not None
    assert template.defaults() == {"top": 5}


# -------------------------------------------------------------------------------------------------------------- inference


def collect(out: Path, document: Any, class_names: tuple[str, ...] = CLASSES) -> InferenceResult:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    (out / "infer-result.json").write_bytes(content)
    return collect_inference(out, [A, B], CLASSIFICATION, class_names)


def of_a(entry: Any) -> dict[str, Any]:
    return {"classification": {A.file_name: entry}}


def test_labels_are_annotations_of_the_whole_picture_the_surest_first(tmp_path: Path) -> None:
    result = collect(tmp_path, {"classification": {A.file_name: {"labels": LABELS[::-1]}, B.file_name: {"labels": []}}})
    assert result.predictions == {A.id: (label("cat", 0.8), label("dog", 0.1)), B.id: ()}
    assert result.warnings == ()


ANSWER = {"predicted_label": "dog", "scores": [["dog", "0.589"], ["cat", "0.411"]]}
DOG_CAT = (label("dog", 0.589), label("cat", 0.411))
ANSWERS: dict[str, tuple[Any, tuple[Annotation, ...]]] = {
    "ModelArts' answer": (ANSWER, DOG_CAT),
    "its other spelling": ({"predict_label": "dog", "scores": ANSWER["scores"]}, DOG_CAT),
    "numbers": ({"predicted_label": "dog", "scores": [["dog", 0.589], ["cat", 0.411]]}, DOG_CAT),
    "no predicted label": ({"scores": ANSWER["scores"]}, DOG_CAT),
    "no scores": ({"predicted_label": "Dog "}, (label("dog", 1.0),)),
    "equal scores": ({"predicted_label": "dog", "scores": [["cat", "0.5"], ["dog", "0.5"]]}, (label("dog", 0.5), label("cat", 0.5))),
    "nothing": ({"scores": []}, ()),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_modelarts_models_answer_is_read_without_a_tolerance(case: str, tmp_path: Path) -> None:
    entry, expected = ANSWERS[case]
    for document in (of_a(entry), {A.file_name: entry}):
        result = collect(tmp_path, document)
        assert (result.predictions, result.warnings) == ({A.id: expected}, ())


def test_a_file_for_each_picture_is_read_without_a_tolerance(tmp_path: Path) -> None:
    folder = tmp_path / "inference_results"
    folder.mkdir()
    (folder / f"{A.file_name}_result.txt").write_text(json.dumps(ANSWER))
    (folder / f"{B.id}_result.txt").write_text(json.dumps({"predicted_label": "hen", "scores": []}))
    (folder / "notes.md").write_text("not a result")
    result = collect_inference(tmp_path, [A, B], CLASSIFICATION, CLASSES)
    assert result.predictions == {A.id: DOG_CAT, B.id: (label("hen", 1.0),)}
    assert result.warnings == ()


def test_no_result_at_all_is_missing_and_an_empty_folder_of_results_too(tmp_path: Path) -> None:
    with pytest.raises(ResultMissingError, match=r"infer-result\.json"):
        collect_inference(tmp_path, [A], CLASSIFICATION, CLASSES)
    (tmp_path / "inference_results").mkdir()
    with pytest.raises(ResultMissingError, match=r"_result\.txt"):
        collect_inference(tmp_path, [A], CLASSIFICATION, CLASSES)


TOLERATED: dict[str, tuple[Any, list[str]]] = {
    "an unknown class": ({"labels": [{"class_name": "cow", "score": 0.1}, *LABELS]}, ["infer_unknown_class"]),
    "a score too large": ({"labels": [{"class_name": "cat", "score": 1.5}]}, ["infer_score_range"]),
    "no score": ({"labels": [{"class_name": "cat"}]}, ["infer_score_missing"]),
    "a label twice": ({"labels": [*LABELS, LABELS[0]]}, ["infer_label_twice"]),
    "an empty entry": ({}, ["infer_empty_entry"]),
}


@pytest.mark.parametrize("case", TOLERATED)
def test_what_is_tolerated_is_told(case: str, tmp_path: Path) -> None:
    entry, codes = TOLERATED[case]
    assert [warning.code for warning in collect(tmp_path, of_a(entry)).warnings] == codes


MALFORMED: dict[str, tuple[Any, str]] = {
    "detection": ({"detection": {A.file_name: {"boxes": []}}}, "it holds detection"),
    "nothing": ({}, "it holds nothing"),
    "a list": ({"classification": []}, "classification is a list"),
    "labels no list": (of_a({"labels": {}}), r"labels is an object"),
    "a label no object": (of_a({"labels": ["cat"]}), r"labels\[0\] is a text"),
    "no class name": (of_a({"labels": [{"score": 1}]}), r"labels\[0\]\.class_name is missing or null"),
    "a class name without letters": (of_a({"labels": [{"class_name": " ", "score": 1}]}), r"class_name is empty"),
    "scores no pairs": (of_a({"scores": [["cat", "0.5", 1]]}), r"scores\[0\] is not a pair"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_has_the_wrong_type_is_named(case: str, tmp_path: Path) -> None:
    document, words = MALFORMED[case]
    with pytest.raises(ResultMalformedError, match=words):
        collect(tmp_path, document)


def test_result_files_that_lead_outside_or_are_too_many_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"predicted_label": "cat"}')
    folder = tmp_path / "out" / "inference_results"
    folder.mkdir(parents=True)
    (folder / f"{A.file_name}_result.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ResultError, match="outside /out"):
        collect_inference(tmp_path / "out", [A], CLASSIFICATION, CLASSES)
    (folder / f"{A.file_name}_result.txt").unlink()
    for number in range(20):
        (folder / f"{number}_result.txt").write_text("{}")
    with pytest.raises(ResultMalformedError, match="20 files for 1 pictures"):
        collect_inference(tmp_path / "out", [A], CLASSIFICATION, CLASSES)


def test_a_pipe_among_result_files_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "inference_results").mkdir()
    os.mkfifo(tmp_path / "inference_results" / f"{A.file_name}_result.txt")
    with pytest.raises(ResultMalformedError, match="cannot be read"):
        collect_inference(tmp_path, [A], CLASSIFICATION, CLASSES)


SCORES = st.floats(0, 1).map(lambda score: round(score, 6))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.dictionaries(st.sampled_from(CLASSES), SCORES, max_size=3))
def test_scores_come_back_as_they_were_written_in_both_forms(found: dict[str, float], tmp_path: Path) -> None:
    ours = {"labels": [{"class_name": name, "score": score} for name, score in found.items()]}
    theirs = {"scores": [[name, repr(score)] for name, score in found.items()]}
    for entry in (ours, theirs):
        labels = collect(tmp_path, of_a(entry)).predictions[A.id]
        assert {annotation.class_name: annotation.score for annotation in labels} == found
        assert [annotation.score for annotation in labels] == sorted(found.values(), reverse=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["cat", "classification", "", "0.5", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["classification", "labels", "class_name", "score", "scores", "predicted_label", A.file_name]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=JSON)
def test_whatever_is_left_ends_in_labels_or_a_named_error(document: Any, tmp_path: Path) -> None:
    with suppress(ResultError):
        result = collect(tmp_path, json.dumps(document).encode("utf-8", "surrogatepass"))
        for labels in result.predictions.values():
            assert all(each.class_name in CLASSES and each.shape == "image" and 0 <= (each.score or 0) <= 1 for each in labels)


# --------------------------------------------------------------------------------------------------------------- training


def trained(out: Path, **stages: dict[str, Any]) -> Any:
    for name in stages:
        (out / "models" / name).mkdir(parents=True)
        (out / "models" / name / "model.pt").write_text("x")
    listed = {name: {"stage_name": name, "files": ["model.pt"], "timestamp": 1, **metrics} for name, metrics in stages.items()}
    (out / "models" / "result.yaml").write_text(yaml.safe_dump({"model_stages": listed}))
    return collect_training(out)


def test_without_a_named_best_stage_accuracy_decides_where_there_is_no_map(tmp_path: Path) -> None:
    result = trained(tmp_path, low={"top1": 0.7}, high={"top1": 0.9}, middle={"top1": 0.8})
    assert result.best_stage_name == "high"
    assert [stage.metrics for stage in result.stages if stage.name == "high"] == [{"top1": 0.9}]


@pytest.mark.parametrize("name", ["top1", "accuracy", "top1_acc", "accuracy/top1", "acc"])
def test_a_package_ranks_a_classification_by_its_accuracy_whatever_it_is_called(name: str) -> None:
    for value in (0.9, 90.0):  # also in percent
        info = stage_info("best", ["model.pt"], {name: value, "loss": 0.1}, 1)
        assert info == {"stage_name": "best", "files": ["model.pt"], "timestamp": 1, "top1": 0.9}
        document = model_info({"best": info}, "best", executor_config={}, task_context={}, object_type=CLASSIFICATION, class_names=CLASSES)
        assert (document["task_context"]["mAP"], document["object_type"]) == (0.9, 1)


def test_a_detection_keeps_its_map_beside_an_accuracy() -> None:
    assert quality_of({"mAP": 0.3, "accuracy": 0.9}) == 0.3
    assert "top1" not in stage_info("best", [], {"mAP": 0.3, "accuracy": 0.9}, 1)

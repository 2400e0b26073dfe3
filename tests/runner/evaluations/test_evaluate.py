"""Evaluations of real prediction files against real versions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from contracts.errors import DatasetError, NotFoundError, RequestError
from registry import evaluations, predictions
from registry.tables import JobRow
from tests.runner.evaluations.conftest import LABELS, World, asset_id, box

Files = Callable[[Path], dict[str, bytes]]


def test_labels_and_predictions_meet(world: World) -> None:
    made = world.runner.evaluate(["i1"])
    assert (
        made["test_set"] | {"data": "pets@V001:test", "labelled": 3, "unlabelled": 1, "evaluated": 3, "not_predicted": 0}
        == made["test_set"]
    )
    (model,) = made["models"]
    assert {name: model["metrics"][name] for name in ("tp", "fp", "fn")} == {"tp": 2, "fp": 1, "fn": 1}
    assert model["pictures_without_answer"] == 1
    cat, dog = model["classes"]
    assert (cat["class"], cat["recall"], dog["precision"]) == ("cat", 0.5, 0.5)
    assert {"true": "cat", "predicted": "dog", "count": 1} in model["confusion"]
    assert made["definitions"].keys() >= model["metrics"].keys()


def test_its_files_are_tables_pictures_and_a_page(world: World) -> None:
    folder = Path(world.runner.evaluate(["i1"])["folder"])
    assert {file.name for file in folder.iterdir()} == {
        "evaluation.json", "classes.parquet", "curves.parquet", "marks.parquet", "pr-i1.png", "confusion-i1.png", "report.html",
    }  # fmt: skip
    marks = pq.read_table(folder / "marks.parquet").to_pylist()
    assert sorted((row["side"], row["class"], row["mark"]) for row in marks) == [
        ("object", "cat", "FN"), ("object", "cat", "MTP"), ("object", "dog", "MTP"),
        ("prediction", "cat", "TP"), ("prediction", "dog", "FP"), ("prediction", "dog", "TP"),
    ]  # fmt: skip
    assert {row["asset_id"] for row in marks} == {asset_id("a.jpg"), asset_id("b.jpg")}
    assert [row["partner"] for row in marks if row["mark"] == "FP"] == [None]
    for file in folder.glob("*.png"):
        with Image.open(file) as picture:
            picture.load()


def test_the_same_question_has_one_answer_however_it_is_asked(world: World, files: Files) -> None:
    first = world.runner.evaluate(["i1"])
    before = files(Path(first["folder"]))
    assert world.runner.evaluate(["i1-name"], against="pets@V001:test") == first == world.runner.get_evaluation(first["id"][:6])
    assert files(Path(first["folder"])) == before
    assert world.runner.evaluate(["i1"], confidence=0.75)["id"] != first["id"]
    assert [listed["id"] for listed in world.runner.list_evaluations()][-1] == first["id"]


def test_a_file_that_is_gone_is_made_anew(world: World) -> None:
    first = world.runner.evaluate(["i1"])
    shutil.rmtree(first["folder"])
    again = world.runner.evaluate(["i1"])
    assert {**again, "created_at": ""} == {**first, "created_at": ""}
    assert len(world.runner.list_evaluations()) == 1
    (Path(first["folder"]) / "evaluation.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        world.runner.get_evaluation(first["id"])


def test_models_stand_side_by_side_on_one_test_set(world: World) -> None:
    world.predict("i2", {"a.jpg": [box("cat", 10, 0.9)], "b.jpg": [], "c.jpg": []}, model="second")
    made = world.runner.evaluate(["i1", "i2"])
    assert [(model["model"], model["metrics"]["tp"]) for model in made["models"]] == [("first", 2), ("second", 1)]
    tables = {name: pq.read_table(Path(made["folder"]) / name) for name in ("classes.parquet", "marks.parquet")}
    assert {job for table in tables.values() for job in table["job"].to_pylist()} == {"i1", "i2"}


def test_jobs_that_looked_at_different_pictures_are_refused_unless_only_the_common_ones_are_asked_for(world: World) -> None:
    world.label({"a.jpg": LABELS["a.jpg"], "e.jpg": []}, "others")
    world.predict("i2", {"a.jpg": [box("cat", 10, 0.9)], "e.jpg": []}, data="others")
    with pytest.raises(DatasetError, match=r"different pictures of pets@V001:test \(i1 3, i2 1 of 3\)") as refused:
        world.runner.evaluate(["i1", "i2"])
    assert "--common to evaluate only the 1 pictures" in refused.value.hint
    made = world.runner.evaluate(["i1", "i2"], common=True)
    assert (made["test_set"]["evaluated"], made["test_set"]["not_predicted"]) == (1, 2)
    assert [model["metrics"]["tp"] for model in made["models"]] == [2, 1]
    assert [model["pictures_outside_test_set"] for model in made["models"]] == [3, 1]


def test_jobs_without_a_common_picture_are_not_told_to_ask_for_the_common_ones(world: World) -> None:
    world.label({"z.jpg": []}, "others")
    world.predict("i2", {"z.jpg": []}, data="others")
    with pytest.raises(DatasetError, match="no labelled picture of pets@V001:test was looked at by i1 and i2") as refused:
        world.runner.evaluate(["i1", "i2"])
    assert "--against" in refused.value.hint


def test_labels_of_another_version_with_the_same_pictures_can_be_named(world: World) -> None:
    better = {**LABELS, "d.jpg": [box("cat", 1)]}
    assert world.label(better) == "V002"
    made = world.runner.evaluate(["i1"], against="pets@V002:test")
    assert (made["test_set"]["data"], made["test_set"]["evaluated"], made["models"][0]["metrics"]["tp"]) == ("pets@V002:test", 4, 3)


def test_labels_of_other_pictures_are_no_test_set(world: World) -> None:
    world.label({"e.jpg": []}, "others")
    with pytest.raises(DatasetError, match="no labelled picture of others@V001 was looked at by i1"):
        world.runner.evaluate(["i1"], against="others")


def test_pictures_without_labels_are_no_test_set(world: World) -> None:
    world.label({"a.jpg": None}, "bare")
    with pytest.raises(DatasetError, match="bare@V001 has no labelled pictures"):
        world.runner.evaluate(["i1"], against="bare")


def test_classes_that_one_side_does_not_know_are_named_and_counted(world: World) -> None:
    world.predict("i2", {"a.jpg": [box("cat", 10, 0.9), box("owl", 10, 0.9), box("owl", 30, 0.9)]})
    model = world.runner.evaluate(["i2"])["models"][0]
    assert (model["classes_unknown_to_test_set"], model["predictions"], model["metrics"]["fp"]) == ({"owl": 2}, 1, 0)
    assert model["classes_unknown_to_model"] is None  # there is no such model any more
    world.label({"a.jpg": LABELS["a.jpg"], "f.jpg": []}, "few", classes=("cat", "dog", "emu"))
    assert world.runner.evaluate(["i2"], against="few", common=True)["test_set"]["classes_without_objects"] == ["emu"]


def know(world: World, tmp_path: Path, *classes: str) -> None:
    """The model of the predictions, with these classes."""
    (tmp_path / "best.pt").write_bytes(b"weights")
    world.runner.import_model("first", tmp_path / "best.pt", class_names=list(classes), object_type="detection")


def test_data_without_any_class_of_the_model_is_refused(world: World, tmp_path: Path) -> None:
    know(world, tmp_path, "owl", "emu")
    with pytest.raises(DatasetError, match="has none of the classes that first") as refused:
        world.runner.evaluate(["i1"])
    assert "The model knows owl, emu; the data has cat, dog." in (refused.value.hint or "")
    assert world.runner.list_evaluations() == []


def test_classes_are_matched_by_any_name_they_go_by(world: World, tmp_path: Path) -> None:
    know(world, tmp_path, "kitty", "dog", "emu")
    world.predict("i2", {"a.jpg": [box("kitty", 10, 0.9), box("dog", 51, 0.8)], "b.jpg": [box("kitty", 90, 0.2)]})
    before = world.runner.evaluate(["i2"])
    assert before["models"][0]["classes_unknown_to_test_set"] == {"kitty": 2}
    world.runner.set_dataset_class("pets", "cat", aliases=["kitty"])
    after = world.runner.evaluate(["i2"])
    assert after["id"] != before["id"]
    model = after["models"][0]
    assert (model["classes_unknown_to_test_set"], model["classes_unknown_to_model"], model["predictions"]) == ({}, [], 3)


def test_an_older_version_is_evaluated_under_its_own_names(world: World, tmp_path: Path) -> None:
    know(world, tmp_path, "cat", "dog")
    world.label({"a.jpg": [box("feline", 10)]}, classes=("feline",))
    world.runner.set_dataset_class("pets", "feline", aliases=["tomcat"])
    assert world.runner.evaluate(["i1"], against="pets@V001:test")["models"][0]["classes_unknown_to_model"] == []
    with pytest.raises(DatasetError, match="has none of the classes"):
        world.runner.evaluate(["i1"], against="pets@V002:test")


def test_tags_of_pictures_and_attributes_of_objects(empty_world: World) -> None:
    empty_world.label(LABELS, tags={"a.jpg": {"weather": "rain"}, "b.jpg": {"weather": "sun"}})
    empty_world.predict("i1", {"a.jpg": [box("cat", 10, 0.9)]})
    model = empty_world.runner.evaluate(["i1"], by=["weather", "pose"])["models"][0]
    assert {value: (part["images"], part["tp"], part["fn"]) for value, part in model["by_tag"]["weather"].items()} == {
        "": (1, 0, 0), "rain": (1, 1, 1), "sun": (1, 0, 1),
    }  # fmt: skip
    assert model["by_attribute"]["pose"]["left"]["recall"] == 1
    with pytest.raises(RequestError, match="no picture or object of pets@V001:test has 'season'") as refused:
        empty_world.runner.evaluate(["i1"], by=["season"])
    assert refused.value.hint == "Known: pose, weather."


def test_nothing_predicted_at_all(empty_world: World) -> None:
    empty_world.label(LABELS)
    empty_world.predict("i1", {name: [] for name in LABELS})
    metrics = empty_world.runner.evaluate(["i1"])["models"][0]["metrics"]
    assert (metrics["AP"], metrics["tp"], metrics["fn"], metrics["precision"]) == (0, 0, 3, None)


def test_nothing_to_find_at_all(empty_world: World) -> None:
    empty_world.label({"a.jpg": [], "b.jpg": []})
    empty_world.predict("i1", {"a.jpg": [box("cat", 10, 0.9)]})
    metrics = empty_world.runner.evaluate(["i1"])["models"][0]["metrics"]
    assert (metrics["AP"], metrics["fp"], metrics["recall"]) == (None, 1, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (box("cat", float("nan"), 0.9), "predictions of the job i1 cannot be evaluated: box: not a number.*a.jpg"),
        (box("cat", 1, float("nan")), "score: not a number"),
        (box("cat", 1, None), "score: not a number"),
        (box("cat", 1, 0.5, size=-3), "negative width"),
    ],
)
def test_predictions_that_are_no_numbers_are_refused_and_nothing_is_stored(empty_world: World, wrong: Any, words: str) -> None:
    empty_world.label(LABELS)
    empty_world.predict("i1", {"a.jpg": [wrong]})
    with pytest.raises(DatasetError, match=words):
        empty_world.runner.evaluate(["i1"])
    assert empty_world.runner.list_evaluations() == []
    assert not list((empty_world.home / "evaluations").iterdir())


def test_boxes_outside_the_picture_without_area_and_surer_than_one_are_wrong(empty_world: World) -> None:
    empty_world.label(LABELS)
    empty_world.predict("i1", {"a.jpg": [box("cat", 900, 3.0), box("cat", 10, 2.0, size=0), box("cat", 10, 1.5), box("cat", 10, 1.5)]})
    metrics = empty_world.runner.evaluate(["i1"])["models"][0]["metrics"]
    assert (metrics["tp"], metrics["fp"]) == (1, 3)


def test_a_prediction_is_evaluated_after_the_record_of_its_job_is_gone(world: World) -> None:
    with world.database.writing() as session:
        session.delete(session.get_one(JobRow, "i1"))
    assert world.runner.evaluate(["i1"])["models"][0]["metrics"]["tp"] == 2


def test_predictions_that_came_with_a_source_are_of_the_pictures_they_name(world: World) -> None:
    world.predict("import-1", {"a.jpg": [box("cat", 10, 0.9)]}, given=1)
    made = world.runner.evaluate(["import-1"])
    assert (made["test_set"]["evaluated"], made["test_set"]["not_predicted"], made["models"][0]["metrics"]["fn"]) == (1, 2, 1)


def test_a_job_without_a_prediction_is_named(world: World) -> None:
    with world.database.writing() as session:
        predictions.remove_prediction(session, "i1")
    with pytest.raises(NotFoundError, match="left no prediction"):
        world.runner.evaluate(["i1"])


def test_a_folder_without_a_row_is_freed_and_one_with_a_row_stays(world: World) -> None:
    kept = Path(world.runner.evaluate(["i1"])["folder"])
    lost = kept.with_name("e000000000000")
    shutil.copytree(kept, lost)
    for folder in (kept, lost):
        for path in (folder, *folder.iterdir()):
            os.utime(path, (1, 1))
    world.runner.gc(dry_run=False, what=["assets"])
    assert (kept.exists(), lost.exists()) == (True, False)


def test_a_broken_file_is_named(world: World) -> None:
    (world.home / "predictions" / "i1.parquet").write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match=r"i1\.parquet cannot be read"):
        world.runner.evaluate(["i1"])


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"references": []}, RequestError, "one or several jobs"),
        ({"references": ["i1", "i1-name"]}, RequestError, "the job i1 is named twice"),
        ({"references": ["nobody"]}, NotFoundError, "nobody"),
        ({"references": ["i1"], "iou": 0.0}, RequestError, "iou is 0.0"),
        ({"references": ["i1"], "confidence": 1.5}, RequestError, "confidence is 1.5"),
        ({"references": ["i1"], "kind": "smell"}, RequestError, "'smell'"),
        ({"references": ["i1"], "against": "nowhere"}, NotFoundError, "nowhere"),
        ({"references": ["i1"], "against": "pets:holiday"}, DatasetError, "no split 'holiday'"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(world: World, asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        world.runner.evaluate(**asked)
    assert world.runner.list_evaluations() == []


def test_evaluations_are_compared_only_where_their_numbers_mean_the_same(world: World) -> None:
    world.predict("i2", {"a.jpg": [box("cat", 10, 0.9)]}, model="second")
    one, two = (world.runner.evaluate([job])["id"] for job in ("i1", "i2"))
    compared = world.runner.compare_evaluations([one, two])
    assert [(model["evaluation"], model["model"]) for model in compared["models"]] == [(one, "first"), (two, "second")]
    other = world.runner.evaluate(["i2"], iou=0.75)["id"]
    with pytest.raises(RequestError, match=r"the iou differ \(0.5 and 0.75\)"):
        world.runner.compare_evaluations([one, other])
    with pytest.raises(RequestError, match="no evaluations"):
        world.runner.compare_evaluations([])


def test_a_folder_that_a_killed_runner_left_is_replaced(world: World) -> None:
    made = world.runner.evaluate(["i1"])
    with world.database.writing() as session:
        row = evaluations.find_evaluation(session, made["id"])
        assert row
        session.delete(session.get_one(evaluations.EvaluationRow, made["id"]))
    (Path(made["folder"]) / "evaluation.json").unlink()
    again = world.runner.evaluate(["i1"])
    assert json.loads((Path(again["folder"]) / "evaluation.json").read_text())["models"] == made["models"]

"""``analyse``, as a training code written for ModelArts calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.evaluation.analyse import analyse

FILES = {"overview", "precision", "sensitivity", "indicators"}
CLASSES = json.dumps({"0": "cat", "1": "dog"})


def test_classification_writes_four_files_with_the_names_it_was_given(tmp_path: Path) -> None:
    predictions = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    made = analyse("image_classification", predictions, [0, 1, 1], ["obs://a/1.jpg", "obs://a/2.jpg", "obs://a/3.jpg"], CLASSES, tmp_path)
    assert {file.stem for file in tmp_path.iterdir()} == FILES
    assert {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in FILES} == made
    assert made["overview"]["accuracy"] == pytest.approx(2 / 3)
    assert made["precision"]["surest_errors"] == [{"name": "obs://a/3.jpg", "true": "dog", "predicted": "cat", "confidence": 0.7}]
    assert made["sensitivity"]["unreadable"] == 3
    assert "dog was taken for cat 1 times" in made["overview"]["suggestions"][0]


def test_pictures_that_can_be_read_are_told_apart_by_how_they_look(tmp_path: Path) -> None:
    names = []
    for number, grey in enumerate((0, 10, 200, 250)):
        names.append(str(tmp_path / f"{number}.png"))
        Image.new("L", (8, 8), grey).save(names[-1])
    made = analyse("image_classification", np.eye(2)[[0, 0, 1, 1]], [0, 0, 0, 0], names, CLASSES, tmp_path / "out")
    assert [part["accuracy"] for part in made["sensitivity"]["brightness"]] == [1, 1, 0, 0]


def test_detection_tells_the_worst_pictures(tmp_path: Path) -> None:
    box = {"boxes": [[0, 0, 10, 10]], "labels": [0]}
    none: dict[str, Any] = {"boxes": [], "labels": []}
    predictions = [{**box, "scores": [0.9]}, {**none, "scores": []}, {**box, "scores": [0.8]}]
    made = analyse("object_detection", predictions, [box, box, none], ["a", "b", "c"], CLASSES, tmp_path)
    assert [row["name"] for row in made["precision"]["worst_pictures"]] == ["b", "c"]
    assert (made["overview"]["tp"], made["overview"]["fp"], made["overview"]["fn"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_type": "sound"}, "task_type: 'sound' is none of"),
        ({"label_list": [0]}, "1 labels"),
        ({"label_list": [0, 2]}, "truth: 2"),
        ({"label_map_dict": "{"}, "label_map_dict"),
        ({"label_map_dict": "[]"}, "label_map_dict"),
        ({"label_map_dict": {"1": "cat"}}, "not 0, 1, 2"),
        ({"pred_list": [["x", "y"], [0, 1]]}, "pred_list"),
        ({"pred_list": [], "label_list": [], "name_list": []}, "no samples"),
    ],
)
def test_nothing_is_written_for_what_cannot_be_evaluated(change: dict, words: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "task_type": "image_classification",
        "pred_list": [[1, 0], [0, 1]],
        "label_list": [0, 1],
        "name_list": ["a", "b"],
    }
    with pytest.raises(ValueError, match=words):
        analyse(**{**given, "label_map_dict": CLASSES, "save_path": tmp_path / "out", **change})
    assert not (tmp_path / "out").exists()

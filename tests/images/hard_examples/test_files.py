"""What the image reads, which others wrote: predictions that are broken, hostile or in another order, and annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mining.hard_examples import Parameters

from contracts.image import ObjectType
from contracts.ymir import read_metadata
from tests.images.hard_examples.conftest import APP, DOUBTFUL, boxes, labels

App = Callable[[str], ModuleType]
PICTURE = "picture one.jpg"


@pytest.fixture
def read(app: App, tmp_path: Path) -> Callable[[Any], tuple[Any, Any]]:
    """Boxes and notes of one file, given as a document, text or bytes."""
    module = app("predictions")

    def read(content: Any) -> tuple[Any, Any]:
        data = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()
        (tmp_path / f"{PICTURE}_result.txt").write_bytes(data)
        reading = module.Reading(["cat", "dog"])
        return module.read_boxes(tmp_path, [PICTURE], reading)[0], reading

    return read


def test_boxes_are_read_with_y_first(read: Callable[[Any], tuple[Any, Any]]) -> None:
    found, reading = read(DOUBTFUL)
    assert found.corners.tolist() == [[20, 10, 60, 40], [5, 5, 30, 30]]
    assert (found.scores.tolist(), found.classes.tolist()) == ([0.45, 0.9], [0, 1])
    assert reading.notes == {}
    assert reading.broken == {}


def test_scores_may_be_text_and_classes_new(read: Callable[[Any], tuple[Any, Any]]) -> None:
    found, reading = read({"detection_classes": ["Bird"], "detection_boxes": [["1", 2, 3, 4]], "detection_scores": ["0.518"]})
    assert (found.scores.tolist(), found.corners.tolist()) == ([0.518], [[2, 1, 4, 3]])
    assert reading.class_names == ["cat", "dog", "bird"]
    assert len(reading.notes) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        ({"detection_classes": [], "detection_boxes": []}, "detection_scores is not a list"),
        ({"detection_classes": ["cat"], "detection_boxes": [], "detection_scores": []}, "not equally long"),
        (labels("cat", ("cat", "0.5")), "detection_classes is not a list"),
        (b" " * (16 * 1024**2 + 2), "larger than 16 MiB"),
    ],
)
def test_a_broken_file_is_named_and_its_picture_is_not_predicted(read: Callable[[Any], tuple[Any, Any]], content: Any, why: str) -> None:
    found, reading = read(content)
    assert found is None
    assert why in reading.broken[PICTURE]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), Path.mkdir])
def test_what_is_no_file_is_not_opened(app: App, tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / f"{PICTURE}_result.txt")
    reading = app("predictions").Reading(["cat"])
    assert app("predictions").read_boxes(tmp_path, [PICTURE, "gone.jpg"], reading) == [None, None]
    assert list(reading.broken) == [PICTURE]
    assert reading.missing == ["gone.jpg"]


def test_boxes_are_cut_at_the_picture_and_swapped_ones_are_suspected(app: App, read: Callable[[Any], tuple[Any, Any]]) -> None:
    found, reading = read(boxes(("cat", 1.5, [-5, -5, 10, 10]), ("cat", 0.5, [1, 90, 2, 300]), ("cat", 0.5, [8, 9, 8, 20])))
    assert found.corners.tolist() == [[0, 0, 10, 10], [90, 1, 300, 2]]
    assert set(reading.notes) == {"scores outside [0, 1] were clamped", "boxes without an area were left out"}
    assert app("predictions").clip(found, 96, 64, reading).corners.tolist() == [[0, 0, 10, 10], [90, 1, 96, 2]]
    swapped, reading = read(boxes(("cat", 0.5, [70, 1, 95, 60])))  # x first, in a picture of 96 x 64
    app("predictions").clip(swapped, 96, 64, reading)
    assert any("x and y exchanged" in note for note in reading.notes)


numbers = st.floats() | st.integers() | st.text(max_size=4) | st.none() | st.booleans()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["cat", "", "x", 5, None]), st.lists(numbers, max_size=5), numbers), max_size=6))
def test_whatever_stands_in_the_lists_the_boxes_are_boxes(read: Callable[[Any], tuple[Any, Any]], rows: list[Any]) -> None:
    found, _ = read(
        {"detection_classes": [r[0] for r in rows], "detection_boxes": [r[1] for r in rows], "detection_scores": [r[2] for r in rows]}
    )
    assert np.isfinite(found.corners).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (found.corners[:, 2:] > found.corners[:, :2]).all()


def test_labels_leave_the_missing_mass_to_classes_that_were_not_named(app: App, tmp_path: Path) -> None:
    documents = [
        labels("dog", ("dog", "0.589"), ("cat", "0.2")),
        {"predict_label": "cat", "scores": []},
        labels("cat", ("cat", 0.9), ("dog", 0.9)),
    ]
    for number, document in enumerate(documents):
        (tmp_path / f"{number}_result.txt").write_text(json.dumps(document))
    table = app("predictions").read_labels(tmp_path, ["0", "1", "2", "3"], app("predictions").Reading(["cat", "dog"]))
    assert table.tolist() == [[0.2, 0.589], [1, 0], [0.5, 0.5], [0, 0]]


def test_annotations_count_their_last_pixel_in(app: App, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1, 2, 3, 11, 12, -1.0, 0.0\n7, 1, 1, 2, 2, -1.0, 0.0\n")
    (tmp_path / "empty.txt").write_text("")
    labelled = app("training").read_labelled([["/x.jpg", str(tmp_path / "a.txt")], ["/y.jpg", str(tmp_path / "empty.txt")]], 2, False)
    assert labelled.boxes[0].corners.tolist() == [[2, 3, 12, 13]]
    assert len(labelled.boxes[1]) == 0
    labels = app("training").read_labelled([["/x.jpg", str(tmp_path / "empty.txt")]], 2, True)
    assert labels.labels.tolist() == [-1]


def test_who_is_drawn_does_not_change_when_others_come(app: App) -> None:
    module = app("training")

    def drawn(count: int) -> set[str]:
        pictures = [Path(f"/in/{number}.jpg") for number in range(count)]
        return {path.name for path in module.drawn(module.Labelled(pictures, None, np.zeros(count, int)), 10, 0).paths}

    assert len(drawn(40)) == 10
    assert len(drawn(40) & drawn(41)) >= 9


@pytest.mark.parametrize("folder", ["det", "cls"])
def test_the_templates_have_the_documented_defaults_and_help(folder: str) -> None:
    metadata = read_metadata(
        {str(path.relative_to(APP.parent / "img-man")): path.read_bytes() for path in (APP.parent / "img-man").rglob("*.*")}
    )
    assert metadata.warnings == ()
    assert set(metadata.object_types) == {ObjectType.CLASSIFICATION, ObjectType.DETECTION}
    content = (APP.parent / f"img-man/{folder}/mining-template.yaml").read_bytes()
    assert Parameters.parse(yaml.safe_load(content)) == Parameters()
    template = next(t for t in metadata.templates if (t.object_type is ObjectType.CLASSIFICATION) == (folder == "cls"))
    assert set(Parameters().to_dict()) <= {parameter.name for parameter in template.parameters}
    assert all(parameter.help for parameter in template.parameters)

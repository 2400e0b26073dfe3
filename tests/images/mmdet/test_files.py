"""What images/mmdet reads and writes, without torch: COCO files, parameters, predictions, the training's configuration."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from contracts.image import Kind, ObjectType
from contracts.ymir import read_metadata, rle
from tests.images.image_jobs import IMAGES

App = Callable[[str], ModuleType]
NAMES = ["cat", "dog"]
FOLDER = IMAGES / "mmdet" / "img-man"


def _metadata() -> Any:
    return read_metadata({str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()})


@pytest.mark.parametrize(
    ("kind", "form"),
    [(Kind.TRAINING, "TrainingParameters"), (Kind.MINING, "MiningParameters"), (Kind.INFERENCE, "InferParameters")],
)
@pytest.mark.parametrize("object_type", [ObjectType.DETECTION, ObjectType.INSTANCE_SEGMENTATION])
def test_templates_and_code_have_the_same_parameters_and_each_has_help(app: App, kind: Kind, form: str, object_type: ObjectType) -> None:
    template = _metadata().find_template(kind, object_type)
    fields = {field.name: field.default for field in dataclasses.fields(getattr(app("parameters"), form))}
    asked = {name: value for name, value in template.defaults().items() if not name.startswith("export_") and name != "shm_size"}
    if object_type is ObjectType.INSTANCE_SEGMENTATION and kind is Kind.TRAINING:
        assert asked.pop("model") in app("models").RECIPES
        fields.pop("model"), fields.pop("mosaic")
    assert asked == fields
    assert all(parameter.help for parameter in template.parameters)


def test_the_image_offers_detection_and_instance_segmentation() -> None:
    metadata = _metadata()
    assert metadata.warnings == ()
    assert metadata.object_types == (ObjectType.DETECTION, ObjectType.INSTANCE_SEGMENTATION)


# ------------------------------------------------------------------------------------------------------------------ reading


def _write_coco(folder: Path, annotations: list[dict[str, Any]]) -> list[list[str]]:
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    document = {"images": [{"id": 9, "file_name": "a.png"}], "annotations": annotations}
    (folder / "coco.json").write_text(json.dumps(document))
    return [[str(folder / "a.png"), str(folder / "coco.json")]]


def test_objects_are_cut_at_the_picture_and_those_of_other_classes_or_without_area_are_left_out(app: App, tmp_path: Path) -> None:
    boxes = [[-5, 2, 20, 10], [38, 28, 90, 90], [1, 1, 0, 5], [1, 1, "x", 5], [3, 3, 4, 4]]
    labels = [0, 1, 0, 0, 7]
    rows = _write_coco(tmp_path, [{"image_id": 9, "category_id": label, "bbox": box} for box, label in zip(boxes, labels, strict=True)])
    document = app("coco").read_split(rows, NAMES, outlines=False)
    assert [(found["category_id"], found["bbox"]) for found in document["annotations"]] == [(0, [0, 2, 15, 10]), (1, [38, 28, 2, 2])]
    assert [found["id"] for found in document["annotations"]] == [1, 2]
    assert document["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]


def test_an_object_without_an_outline_gets_that_of_its_box(app: App, tmp_path: Path) -> None:
    rows = _write_coco(tmp_path, [{"image_id": 9, "category_id": 0, "bbox": [1, 2, 3, 4], "segmentation": {}}])
    found = app("coco").read_split(rows, NAMES, outlines=True)["annotations"][0]
    assert found["segmentation"] == [[1, 2, 4, 2, 4, 6, 1, 6]]


def test_a_broken_picture_is_left_out_and_all_broken_is_an_error(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _write_coco(tmp_path, [{"image_id": 9, "category_id": 0, "bbox": [1, 2, 3, 4]}])
    (tmp_path / "bad.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    bad = [str(tmp_path / "bad.png"), rows[0][1]]
    assert [image["id"] for image in app("coco").read_split([bad, *rows], NAMES, outlines=False)["images"]] == [1]
    assert f"left out: {tmp_path}/bad.png" in capsys.readouterr().out
    with pytest.raises(app("job_files.contract").ImageError, match="none of the 1 pictures can be read") as caught:
        app("coco").read_split([bad], NAMES, outlines=False)
    assert caught.value.code == 300003


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}', '{"images": {}, "annotations": []}', None])
def test_an_unreadable_coco_file_is_named(app: App, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "c.json").write_text(text)
    with pytest.raises(app("job_files.contract").ImageError, match=r"c\.json") as caught:
        app("coco").read_document(tmp_path / "c.json")
    assert caught.value.code == 300002


def test_labels_of_a_picture_are_those_of_the_jobs_classes(app: App, tmp_path: Path) -> None:
    labels = [1, 0, 1, 7, -1, "x"]
    ((picture, file),) = _write_coco(tmp_path, [{"image_id": 9, "category_id": label, "bbox": [1, 1, 3, 3]} for label in labels])
    labels_of = app("coco").labels_reader(len(NAMES))
    assert labels_of(Path(picture), Path(file)) == [1, 0, 1]
    assert labels_of(Path("b.png"), Path(file)) == []


def test_pictures_without_any_object_are_an_error_that_names_the_classes(app: App, tmp_path: Path) -> None:
    with pytest.raises(app("job_files.contract").ImageError, match=r"has an object of the classes .*cat"):
        app("coco").read_split(_write_coco(tmp_path, []), NAMES, outlines=False)


def test_the_picture_size_follows_the_smallest_class_and_never_exceeds_the_pictures(app: App) -> None:
    def document(sides: list[float], picture: int) -> dict[str, Any]:
        objects = [{"image_id": 1, "category_id": number, "bbox": [0, 0, side, side]} for number, side in enumerate(sides)]
        return {"images": [{"id": 1, "width": picture, "height": picture // 2}], "annotations": objects}

    choose = app("coco").choose_image_size
    assert choose(document([40, 300], 640)) == 384  # 40 of 640 pixels are shown with 24
    assert choose(document([20], 160)) == 160
    assert choose(document([300], 640)) == 128


# ------------------------------------------------------------------------------------------------------------- configuration


def _settings(app: App, **changed: Any) -> dict[str, Any]:
    parameters = app("parameters").TrainingParameters(**changed)
    given = {"object_type": 2, "image_size": 320, "learning_rate": 1e-3, "half": "", "distributed": False, "on_gpu": False}
    return dict(
        app("training_config").training_config(
            parameters, {}, NAMES, ("t.json", "v.json"), work_dir="/tmp/w", collect_dir="/tmp/c", **given
        )
    )


def _steps(settings: dict[str, Any]) -> list[str]:
    return [step["type"] for step in settings["train_dataloader"]["dataset"]["pipeline"]]


def test_augmentation_is_what_the_parameters_ask_for(app: App) -> None:
    plain = _steps(_settings(app, scale=0.0, colour=False))
    assert plain == ["LoadPicture", "LoadAnnotations", "Resize", "PadPicture", "PackDetInputs"]
    full = _steps(_settings(app, flip_horizontal=True, flip_vertical=True))
    assert full[2:5] == ["RandomResize", "RandomCrop", "YOLOXHSVRandomAug"]
    assert full.count("RandomFlip") == 2


def test_a_mosaic_reads_its_pictures_inside(app: App) -> None:
    dataset = _settings(app, mosaic=True)["train_dataloader"]["dataset"]
    assert dataset["type"] == "MultiImageMixDataset"
    assert [step["type"] for step in dataset["pipeline"]][:2] == ["Mosaic", "RandomResize"]
    assert [step["type"] for step in dataset["dataset"]["pipeline"]] == ["LoadPicture", "LoadAnnotations"]


def test_measuring_never_sees_augmented_pictures(app: App) -> None:
    steps = [step["type"] for step in _settings(app, mosaic=True)["val_dataloader"]["dataset"]["pipeline"]]
    assert steps == ["LoadPicture", "Resize", "PadPicture", "PackDetInputs"]


# ---------------------------------------------------------------------------------------------------------------- predictions


def test_boxes_are_whole_pixels_inside_the_picture(app: App) -> None:
    corners = np.array([[0.4, 0.6, 10.5, 20.4], [39.7, 29.9, 40.0, 30.0], [5.0, 5.0, 5.2, 5.2]])
    assert app("results").whole_boxes(corners, (40, 30)) == [[0, 1, 11, 19], [39, 29, 1, 1], [5, 5, 1, 1]]


def test_a_mask_is_written_as_coco_reads_it_and_an_empty_one_as_its_box(app: App) -> None:
    mask = np.zeros((2, 30, 40), bool)
    mask[0, 3:9, 4:14] = True
    document = app("results").CocoDocument(NAMES)
    image = document.add_image("a.png", (40, 30))
    for row in range(2):
        document.add_object(image, 1, [4, 3, 10, 6], 0.5, mask[row])
    first, second = json.loads(document.to_json())["annotations"]
    runs = rle.decompress(first["segmentation"]["counts"])
    columns = np.repeat(np.arange(len(runs)) % 2, runs).reshape(40, 30)
    assert (mask[0] == columns.T).all()
    assert (first["area"], second["area"]) == (60, 60)
    assert second["segmentation"] == [[4, 3, 14, 3, 14, 9, 4, 9]]


# ------------------------------------------------------------------------------------------------------------------- starting


def test_there_is_a_process_for_each_gpu_unless_the_job_says_otherwise(app: App) -> None:
    count = app("start").process_count
    assert [count({"gpu_id": ""}), count({"gpu_id": "0,1"}), count({"gpu_id": "0,1", "processes": 3})] == [1, 2, 3]


def test_an_unknown_kind_of_job_is_named_in_the_monitor(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"object_type": 3}))
    env = {"input": {"config_file": str(tmp_path / "config.yaml")}, "output": {"monitor_file": str(tmp_path / "monitor.txt")}}
    (tmp_path / "env.yaml").write_text(yaml.safe_dump({**env, "run_training": True}))
    monkeypatch.setenv("DEFAULT_ENV_FILE_PATH", str(tmp_path / "env.yaml"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert app("job_files.start").main(app("start").JOBS) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (
        "\t4\t300005\tobject_type 3: this image does detection (2) and instance segmentation (4) only"
        in (tmp_path / "monitor.txt").read_text()
    )


def test_processes_that_fail_make_the_job_fail_with_1_and_one_that_is_stopped_says_so(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in the place of Python that stands for torchrun: it ends with a code, or when it is asked to."""
    start = app("start")
    before = signal.getsignal(signal.SIGTERM)
    try:
        for code, outcome in ((0, True), (5, 1)):
            monkeypatch.setattr(start.sys, "executable", str(_program(tmp_path / f"ends-{code}", f"exit {code}")))
            assert _outcome(start) == outcome
        asks = f"trap 'exit 9' TERM; kill -TERM {os.getpid()}; while :; do sleep 0.05; done"
        monkeypatch.setattr(start.sys, "executable", str(_program(tmp_path / "asks", asks)))
        assert _outcome(start) is False
    finally:
        signal.signal(signal.SIGTERM, before)


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    return path


def _outcome(start: ModuleType) -> Any:
    try:
        return start.run_processes(2)
    except SystemExit as end:
        return end.code

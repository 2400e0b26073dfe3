"""What is staged, parsed the way the SDK and the published images parse it (contract reference 3.4, 4.7 to 4.11 and 8)."""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from contracts.dataset import Annotation, Asset, Sample
from contracts.image import Kind
from contracts.ymir import rle, stage
from contracts.ymir.annotations import ark_text, pixel_box, voc_text
from contracts.ymir.layout import ContainerView
from contracts.ymir.tolerances import Tolerances
from tests.contracts.samples import CLASSES, GOLDEN, candidate_inputs, golden_cases

VIEW = ContainerView("/in", "/out")
CLASS_IDS = {name: i for i, name in enumerate(CLASSES)}


def on_host(container_path: str, work: Path) -> Path:
    return work / container_path.lstrip("/")


@pytest.mark.parametrize(
    ("case", "suffix"), [("training-ark", "txt"), ("training-voc", "xml"), ("training-coco", "json"), ("training-pretrained", "txt")]
)
def test_rows_split_at_white_space_into_a_picture_and_its_annotations(case: str, suffix: str) -> None:
    """``a, b = line.split()``: yolov4, ymir2yolov5, ymir2coco."""
    env = yaml.safe_load((GOLDEN / case / "in" / "env.yaml").read_text())["input"]
    for index in (env["training_index_file"], env["val_index_file"]):
        text = on_host(index, GOLDEN / case).read_text()
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        for line in text.splitlines():
            picture, annotations = line.split()
            assert picture.startswith(env["assets_dir"] + "/")
            assert annotations.startswith(env["annotations_dir"] + "/")
            assert annotations.endswith(suffix)
            assert on_host(picture, GOLDEN / case).is_file()
            assert on_host(annotations, GOLDEN / case).is_file()


def test_ymir2yolov5_finds_labels_by_replacing_text_in_the_picture_path() -> None:
    for line in (GOLDEN / "training-ark/in/train-index.tsv").read_text().splitlines():
        picture, annotations = line.split()
        assert Path(picture).with_suffix(".txt").as_posix().replace("/in/assets", "/in/annotations") == annotations


def test_candidates_are_one_path_per_line() -> None:
    lines = (GOLDEN / "mining/in/candidate-index.tsv").read_text().splitlines()
    assert lines == sorted(set(lines), key=lambda line: Path(line).name)
    assert all(len(line.split()) == 1 and re.fullmatch(r"/in/assets/(..)/[0-9a-f]{38}\1\.jpg", line) for line in lines)


def test_the_first_five_ark_columns_are_a_class_and_inclusive_corners() -> None:
    texts = [path.read_text() for path in sorted((GOLDEN / "training-ark/in/annotations").rglob("*.txt"))]
    rows = [[int(column) for column in line.split(",")[0:5]] for text in texts for line in text.splitlines()]
    assert [0, 10, 20, 39, 59] in rows
    assert all(0 <= row[0] < len(CLASSES) for row in rows)
    assert "" in texts  # a picture without boxes has its file


def test_voc_is_one_line_that_standard_readers_take() -> None:
    for path in (GOLDEN / "training-voc/in/annotations").rglob("*.xml"):
        text = path.read_text()
        root = ET.fromstring(text)
        assert "\n" not in text
        assert root.tag == "annotation"
        assert root.findtext("filename") == f"/in/assets/{path.parent.name}/{path.stem}.jpg"
        assert (root.findtext("size/width"), root.findtext("size/height")) == ("64", "80")
        for found in root.iter("object"):
            assert found.findtext("name") in CLASSES
            assert all(int(found.findtext(f"bndbox/{corner}") or "") >= 0 for corner in ("xmin", "ymin", "xmax", "ymax"))


def test_coco_is_read_by_pycocotools_and_joined_with_the_index() -> None:
    folder = GOLDEN / "training-masks/in"
    coco = COCO(str(folder / "annotations/coco-annotations.json"))
    names = {Path(line.split()[0]).name for name in ("train", "val") for line in (folder / f"{name}-index.tsv").read_text().splitlines()}
    assert {image["file_name"] for image in coco.dataset["images"]} == names
    assert [category["id"] for category in coco.dataset["categories"]] == [0, 1]  # only classes that occur
    areas = [(int(coco_mask.area(coco.annToRLE(a))), a["area"]) for a in coco.dataset["annotations"] if a["segmentation"]]
    assert areas == [(4, 4), (16, 16)]


def test_weights_are_found_by_joining_models_dir_with_each_entry(tmp_path: Path) -> None:
    """SDK ``get_weight_files``; an absolute entry wins in ``os.path.join``."""
    stage(candidate_inputs(tmp_path, Kind.INFERENCE, {}), tmp_path / "in", tmp_path / "out")
    config = yaml.safe_load((tmp_path / "in/config.yaml").read_text())
    paths = [os.path.join("/in/models", entry) for entry in config["model_params_path"]]  # noqa: PTH118 - as the SDK does
    assert [path for path in paths if path.endswith(".pt") and on_host(path, tmp_path).is_file()] == ["/in/models/epoch_2/best.pt"]


def test_the_protocol_version_is_the_text_that_version_parsers_take() -> None:
    env = yaml.safe_load((GOLDEN / "mining/in/env.yaml").read_text())
    assert env["protocol_version"] == "1.1.0"
    assert tuple(int(part) for part in env["protocol_version"].split(".")) >= (1, 0, 0)


def test_mining_images_find_the_keys_of_both_templates(tmp_path: Path) -> None:
    stage(golden_cases(tmp_path)["mining+inference"], tmp_path / "in", tmp_path / "out")
    config: dict[str, Any] = yaml.safe_load((tmp_path / "in/config.yaml").read_text())
    assert {"conf_thres", "mining_algorithm", "run_mining", "run_infer", "model_params_path", "gpu_id"} <= set(config)


# ------------------------------------------------------------------------------------------------------- numbers, any at all

coordinates = st.floats(0, 5000, allow_nan=False)
sizes = st.floats(0.001, 5000, allow_nan=False)
boxes = st.builds(
    Annotation, st.sampled_from(CLASSES), coordinates, coordinates, sizes, sizes, quality=st.floats(-1, 1), angle=st.floats(-7, 7)
)


def sample_of(*annotations: Annotation) -> Sample:
    return Sample(Asset("0" * 40, "jpg", 5000, 5000, 1), Path("unused"), annotations)


@given(boxes)
def test_whole_pixels_stay_within_one_pixel_of_the_box(box: Annotation) -> None:
    found = pixel_box(box)
    assert found
    x, y, width, height = found
    assert abs(x - box.x) <= 1
    assert abs(y - box.y) <= 1
    assert width >= 1
    assert height >= 1
    assert x + width <= math.ceil(box.x + box.width) + 1
    assert abs((x + width) - (box.x + box.width)) <= 1


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_whole_boxes_are_written_unchanged(x: int, y: int, width: int, height: int) -> None:
    assert pixel_box(Annotation("cat", x, y, width, height)) == (x, y, width, height)


@given(st.lists(boxes, max_size=4))
def test_ark_and_voc_hold_the_same_corners(annotations: list[Annotation]) -> None:
    sample = sample_of(*annotations)
    ark = [line.split(", ") for line in ark_text(sample, CLASS_IDS, Tolerances()).splitlines()]
    voc = ET.fromstring(voc_text(sample, CLASS_IDS, VIEW, Tolerances())).findall("object")
    assert [len(row) for row in ark] == [7] * len(annotations)
    corners = [[box.findtext(f"bndbox/{c}") for c in ("xmin", "ymin", "xmax", "ymax")] for box in voc]
    assert corners == [row[1:5] for row in ark]
    assert all(math.isfinite(float(row[5])) and math.isfinite(float(row[6])) for row in ark)


@given(st.text(max_size=20))
def test_any_class_name_makes_readable_xml(name: str) -> None:
    sample = sample_of(Annotation(name, 1, 1, 2, 2))
    root = ET.fromstring(voc_text(sample, {name: 0}, VIEW, Tolerances()).encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    assert len(root.findall("object")) == 1


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_masks_are_compressed_as_pycocotools_does(height: int, width: int, random: Any) -> None:
    bits = [random.random() < 0.4 for _ in range(height * width)]
    runs, value = [0], False
    for bit in bits:
        if bit != value:
            runs.append(0)
            value = bit
        runs[-1] += 1
    expected = coco_mask.frPyObjects({"counts": runs, "size": [height, width]}, height, width)
    text = rle.compress(runs)
    assert text == expected["counts"].decode()
    assert rle.decompress(text) == runs
    assert rle.area(runs) == sum(bits) == int(coco_mask.area(expected))


@given(st.text(max_size=40))
def test_any_text_is_runs_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert all(run >= 0 for run in rle.decompress(text))

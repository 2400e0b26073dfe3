"""COCO: one or several files, split by name or folder, and what is broken in them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pycocotools.coco import COCO

from contracts.dataset import Annotation
from contracts.seams import ClassNames, PredictedBy
from plugins.formats.coco import CocoFormat, read_coco_file
from plugins.formats.listing import list_folder
from plugins.formats.mask_runs import mask_of
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import HEIGHT, WIDTH, make_sample
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


def document(*names: str, annotations: list[Any] | None = None, categories: list[Any] | None = None) -> str:
    return json.dumps(
        {
            "images": [{"id": index, "file_name": name, "width": 100, "height": 80} for index, name in enumerate(names)],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3.5, 4]}] if annotations is None else annotations,
            "categories": [{"id": 3, "name": "Zebra"}, {"id": 1, "name": " Cat "}] if categories is None else categories,
        }
    )


class TestCocoFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> CocoFormat:
        return CocoFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for name in ("a", "b"):
            make_picture(f"train2017/{name}.jpg")
        make_picture("val2017/c.jpg")
        write("annotations/instances_train2017.json", document("a.jpg", "b.jpg"))
        write("annotations/instances_val2017.json", document("c.jpg"))
        return folder


def _read_one(folder: Path, make_picture: MakePicture, write: Write, annotation: dict[str, Any]) -> list[Any]:
    make_picture("a.jpg")
    write("labels.json", document("a.jpg", annotations=[{"image_id": 0, "category_id": 1, **annotation}]))
    return list(CocoFormat().read(folder))


def test_splits_come_from_the_file_names(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.jpg")
    make_picture("images/b.jpg")
    write("annotations/instances_train2017.json", document("a.jpg"))
    write("annotations/instances_val2017.json", document("b.jpg"))
    assert {image.name: image.splits for image in images(list(CocoFormat().read(folder)))} == {
        "images/a.jpg": ("train",),
        "images/b.jpg": ("val",),
    }


def test_splits_come_from_the_folder_of_the_file(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for part in ("train", "valid"):
        make_picture(f"{part}/a.jpg")
        write(f"{part}/_annotations.coco.json", document("a.jpg"))
    assert [image.splits for image in images(list(CocoFormat().read(folder)))] == [("train",), ("val",)]


def test_classes_are_in_the_order_of_category_ids(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("x.json", document("a.jpg"))
    assert ClassNames(("cat", "zebra")) in list(CocoFormat().read(folder))


def test_boxes_crowds_and_polygons_are_kept(folder: Path, make_picture: MakePicture, write: Write) -> None:
    polygon = [1, 2, 30, 2, 30.5, 40]
    found = _read_one(folder, make_picture, write, {"bbox": [1, 2, 29.5, 38], "iscrowd": 1, "segmentation": [polygon]})
    (box,) = images(found)[0].annotations or ()
    assert (box.class_name, box.x, box.y, box.width, box.height, box.crowd) == ("cat", 1, 2, 29.5, 38, True)
    assert box.segmentation == [polygon]


def test_a_polygon_without_a_box_gives_its_bounds(folder: Path, make_picture: MakePicture, write: Write) -> None:
    found = _read_one(folder, make_picture, write, {"segmentation": [[10, 20, 30, 20, 30, 50]]})
    (box,) = images(found)[0].annotations or ()
    assert (box.x, box.y, box.width, box.height) == (10, 20, 20, 30)


@pytest.mark.parametrize(
    "outline",
    [[[1, 2, 3]], {"size": [2, 2], "counts": [1, 1]}, {"counts": "abc"}, "text", {"size": [1e6, 1e6], "counts": [1]}, [["a"] * 6]],
)
def test_a_broken_outline_leaves_the_box_and_is_reported(folder: Path, make_picture: MakePicture, write: Write, outline: Any) -> None:
    found = _read_one(folder, make_picture, write, {"bbox": [1, 2, 3, 4], "segmentation": outline})
    (box,) = images(found)[0].annotations or ()
    assert box.segmentation is None
    assert [(skip.place, skip.what) for skip in skips(found)] == [("labels.json#annotations[0]", "mended")]


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": None},
        {"bbox": [1, 2, float("nan"), 4]},
        {"bbox": [1, 2, 10**400, 4]},
        {"bbox": [1, 2, True, 4]},
        {"bbox": [1, 2, 3, 4], "category_id": 99},
        {"bbox": [1, 2, 3, 4], "image_id": 99},
        {"bbox": [1, 2, 3, 4], "image_id": None},
        {"bbox": "1 2 3 4"},
    ],
)
def test_a_broken_annotation_is_named(folder: Path, make_picture: MakePicture, write: Write, annotation: dict[str, Any]) -> None:
    found = _read_one(folder, make_picture, write, annotation)
    assert [(skip.place, skip.what) for skip in skips(found)] == [("labels.json#annotations[0]", "box")]
    assert images(found)[0].annotations == ()


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, '{"images": [], "annotations": [', '{"images": [1], "annotations": [' + "9" * 5000 + "]}"]
)
def test_pictures_that_an_unreadable_file_may_speak_of_are_left_out(
    folder: Path, make_picture: MakePicture, write: Write, content: str
) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("good.json", document("a.jpg"))
    write("x.json", content + '"images": [], "annotations": [')
    found = list(CocoFormat().read(folder))
    assert [image.name for image in images(found)] == ["a.jpg"]
    assert [(skip.place, skip.what) for skip in skips(found)] == [("x.json", "file"), ("b.jpg", "image")]


def test_images_without_a_picture_and_names_that_lead_out_are_reported(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("x.json", document("a.jpg", "gone.jpg", "../../../etc/passwd", "/etc/hostname"))
    found = list(CocoFormat().read(folder))
    assert [image.name for image in images(found)] == ["a.jpg"]
    assert [skip.place for skip in skips(found)] == ["x.json#images[1]", "x.json#images[2]", "x.json#images[3]"]


def test_a_picture_that_no_file_names_is_unannotated(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("x.json", document("a.jpg"))
    assert [image.annotations is None for image in images(list(CocoFormat().read(folder)))] == [False, True]


def test_captions_and_keypoints_beside_instances_are_not_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("instances_train2017.json", document("a.jpg"))
    write("captions_train2017.json", document("a.jpg", annotations=[{"image_id": 0, "caption": "a cat"}]))
    found = list(CocoFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert [skip.place for skip in skips(found)] == ["captions_train2017.json"]


def test_the_lists_may_lie_far_into_a_large_file(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("x.json", '{"info": "' + "x" * (9 * 1024**2) + '", ' + document("a.jpg")[1:])
    assert CocoFormat().detect(folder)
    assert len(images(list(CocoFormat().read(folder)))[0].annotations or ()) == 1


# -------------------------------------------------------------------------------------------------- results, attributes, writing


def results(*entries: tuple[int, list[float], float]) -> str:
    return json.dumps([{"image_id": image, "category_id": 1, "bbox": box, "score": score} for image, box, score in entries])


def test_a_results_file_beside_the_ground_truth_gives_predictions(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("gt.json", document("a.jpg", "b.jpg"))
    write("yolox_results.json", results((0, [1, 2, 3, 4], 0.5), (0, [2, 2, 3, 4], 0.25), (9, [1, 2, 3, 4], 0.5)))
    found = list(CocoFormat().read(folder))
    first, second = images(found)
    assert [(box.class_name, box.score) for box in first.predictions or ()] == [("cat", 0.5), ("cat", 0.25)]
    assert (len(first.annotations or ()), second.predictions) == (1, ())
    assert PredictedBy("yolox_results") in found
    assert [skip.place for skip in skips(found)] == ["yolox_results.json#[2]"]


def test_results_for_pictures_that_nobody_annotated(folder: Path, make_picture: MakePicture, write: Write) -> None:
    """As for COCO's own test set, whose file names pictures and classes only."""
    make_picture("a.jpg")
    content = json.loads(document("a.jpg"))
    del content["annotations"]
    write("image_info_test2017.json", json.dumps(content))
    write("results.json", results((0, [1, 2, 3, 4], 0.5)))
    (image,) = images(list(CocoFormat().read(folder)))
    assert (image.annotations, [box.class_name for box in image.predictions or ()]) == (None, ["cat"])


def test_results_go_to_the_file_of_their_split_and_a_second_model_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for split in ("train", "val"):
        make_picture(f"{split}/{split}.jpg")
        write(f"annotations/instances_{split}.json", document(f"{split}.jpg"))
    write("results_val_a.json", results((0, [1, 2, 3, 4], 0.5)))
    write("results_val_b.json", results((0, [1, 2, 3, 4], 0.75)))
    found = list(CocoFormat().read(folder))
    assert {image.name: image.predictions and image.predictions[0].score for image in images(found)} == {
        "train/train.jpg": None,
        "val/val.jpg": 0.5,
    }
    assert [skip.place for skip in skips(found)] == ["results_val_b.json"]


def test_results_that_fit_several_files_are_left_out_by_name(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for split in ("train", "val"):
        make_picture(f"{split}/{split}.jpg")
        write(f"annotations/instances_{split}.json", document(f"{split}.jpg"))
    write("results.json", results((0, [1, 2, 3, 4], 0.5)))
    found = list(CocoFormat().read(folder))
    assert [(skip.place, skip.what) for skip in skips(found)] == [("results.json", "file")]
    assert all(image.predictions is None for image in images(found))


def test_one_file_alone_is_read_for_formats_that_hold_one(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    boxes = [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "confidence": score} for score in (0.5, 7)]
    file = write("pred/coco-annotations.json", document("a.jpg", annotations=boxes))
    listing = list_folder(folder)
    content = read_coco_file(listing, PurePosixPath(file.relative_to(folder)), scored=True)
    assert [box.score for box in content.annotations[PurePosixPath("a.jpg")] or ()] == [0.5]
    assert (content.class_names, content.sizes, content.unreadable) == (("cat", "zebra"), {PurePosixPath("a.jpg"): (100, 80)}, False)
    assert [skip.place for skip in content.notes] == ["pred/coco-annotations.json#annotations[1]"]


def test_annotations_with_scores_are_what_a_model_found(folder: Path, make_picture: MakePicture, write: Write) -> None:
    found = _read_one(folder, make_picture, write, {"bbox": [1, 2, 3, 4], "score": 0.5})
    (image,) = images(found)
    assert (image.annotations, [box.score for box in image.predictions or ()]) == (None, [0.5])


def test_attributes_of_objects_and_classes_are_kept_and_keypoints_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    said = {"occluded": True, "bad": float("nan"), "deep": [[[[[1]]]]], "name": "x"}
    categories = [{"id": 1, "name": "Cat", "supercategory": "animal", "keypoints": ["nose"], "attributes": {"legs": 4}}]
    annotation = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "attributes": said, "keypoints": [1, 2, 2]}
    write("x.json", document("a.jpg", annotations=[annotation], categories=categories))
    found = list(CocoFormat().read(folder))
    assert dict((images(found)[0].annotations or ())[0].attributes) == {"occluded": True, "name": "x"}
    (names,) = [item for item in found if isinstance(item, ClassNames)]
    assert names.attributes == {"cat": {"legs": 4, "supercategory": "animal"}}
    assert [skip.what for skip in skips(found)] == ["mended", "mended"]
    assert "keypoints of 1 annotations" in skips(found)[0].reason


def test_ids_that_are_there_twice_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    entries = [{"id": 0, "file_name": "a.jpg"}, {"id": 0, "file_name": "b.jpg"}]
    categories = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    annotations = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}] * 2
    write("x.json", json.dumps({"annotations": annotations, "images": entries, "categories": categories}))
    found = list(CocoFormat().read(folder))
    assert [skip.place for skip in skips(found)] == ["x.json#images[1]", "x.json#categories[1]"]
    assert [box.class_name for box in images(found)[0].annotations or ()] == ["cat", "cat"]


@pytest.mark.parametrize("where", ["images", "annotations", "categories"])
@pytest.mark.parametrize(
    "value", [None, 7, "x", [], {}, [[]], {"id": []}, {"id": {}}, {"id": 1e400, "image_id": 10**300}, {"file_name": "\ud800"}]
)
def test_values_of_the_wrong_type_are_named_wherever_they_stand(
    folder: Path, make_picture: MakePicture, write: Write, where: str, value: Any
) -> None:
    make_picture("a.jpg")
    content = json.loads(document("a.jpg"))
    content[where] = [*content[where], value]
    write("x.json", json.dumps(content))
    found = list(CocoFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert [skip.place for skip in skips(found)] == [f"x.json#{where}[{len(content[where]) - 1}]"]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools with numpy 2
def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    polygon = Annotation("cat", 2.5, 3.0, 20.0, 20.0, segmentation=[[2.5, 3.0, 22.5, 3.0, 22.5, 23.0]])
    rows = b"\x00\x01\x01\x01\x00\x01"
    mask = Annotation("dog", 4.0, 5.0, 3.0, 2.0, segmentation=mask_of(rows, (4, 5, 3, 2), (WIDTH, HEIGHT)), crowd=True)
    sample = make_sample(tmp_path, 1, [polygon, mask, Annotation("cat", 1.0, 2.0, 3.0, 4.5)], split="val")
    predicted = replace(polygon, score=0.5)
    write_samples(CocoFormat(), tmp_path / "out", [replace(sample, predictions=(predicted,))])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "out/annotations/instances_val.json"))
        found = truth.loadRes(str(tmp_path / "out/results/instances_val.json"))
    first, second, third = truth.loadAnns(truth.getAnnIds())
    assert [truth.cats[entry["category_id"]]["name"] for entry in (first, second, third)] == ["cat", "dog", "cat"]
    assert (first["bbox"], first["area"], third["area"]) == ([2.5, 3.0, 20.0, 20.0], 200.0, 13.5)
    assert truth.annToMask(second)[5:7, 4:7].tolist() == [[0, 1, 1], [1, 0, 1]]
    assert (truth.annToMask(second).sum(), second["area"], second["iscrowd"]) == (4, 4.0, 1)
    assert [entry["score"] for entry in found.anns.values()] == [0.5]

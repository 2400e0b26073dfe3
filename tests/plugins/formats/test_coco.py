"""COCO: one or several files, split by name or folder, and what is broken in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.seams import ClassNames
from plugins.formats.coco import CocoFormat
from tests.conformance.format import FormatConformance, images, skips

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

"""YOLO: Ultralytics and Darknet layouts, and what is broken in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contracts.dataset import Annotation
from contracts.seams import ClassNames, Format
from plugins.formats.coco_writer import area
from plugins.formats.yolo import YoloFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import make_sample, read_back, same
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]
ROW = "0 0.5 0.5 0.2 0.1\n"


class TestYoloFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> YoloFormat:
        return YoloFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for split in ("train", "val"):
            make_picture(f"images/{split}/a.jpg")
            write(f"labels/{split}/a.txt", ROW)
        write("data.yaml", "names: [Cat, dog]\ntrain: images/train\nval: images/val\n")
        return folder

    def test_what_it_writes_reads_back_equal(self, format_: Format, tmp_path: Path) -> None:
        """To its precision."""
        boxes = [Annotation(name, 1.1, 2.3, 30.7, 20.9) for name in ("cat", "red fox")]
        sample = make_sample(tmp_path, 1, boxes, split="val")
        assert write_samples(format_, tmp_path / "out", [sample]) == []
        same(boxes, read_back(format_, tmp_path / "out")[0][sample.asset.id].annotations, 1e-5)


def _boxes(folder: Path) -> tuple[Annotation, ...]:
    (image,) = images(list(YoloFormat().read(folder)))
    return image.annotations or ()


def test_rows_are_shares_of_the_picture(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png", (200, 100))
    write("labels/a.txt", ROW)
    write("data.yaml", "names: [Cat]")
    (box,) = _boxes(folder)
    assert (box.class_name, box.x, box.y, box.width, box.height) == ("cat", pytest.approx(80), pytest.approx(45), 40, 10)


def test_names_may_be_a_mapping_and_are_text_whatever_yaml_thinks_of_them(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", "7 0.5 0.5 0.2 0.1\n3 0.5 0.5 0.3 0.1\n")
    write("data.yaml", "names: {7: no, 3: 007}\nval: null\n")
    found = list(YoloFormat().read(folder))
    assert ClassNames(("007", "no")) in found
    assert skips(found) == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.5 0.5 0.2", "4 columns"),
        ("5 0.5 0.5 0.2 0.1", "no class 5"),
        ("cat 0.5 0.5 0.2 0.1", "class id is not a number"),
        ("0 nan 0.5 0.2 0.1", "cx is not a number"),
        ("0 0.5 inf 0.2 0.1", "cy is not a number"),
        ("0 50 60 20 10", "in pixels"),
        ("0.5 0.5 0.5 0.2 0.1", "not a whole number"),
        ("-1 0.5 0.5 0.2 0.1", "not a whole number"),
    ],
)
def test_a_broken_row_is_named_with_its_line_and_the_others_are_kept(
    folder: Path, make_picture: MakePicture, write: Write, row: str, reason: str
) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", f"\n{row}\n{ROW}")
    write("data.yaml", "names: [cat]")
    found = list(YoloFormat().read(folder))
    (skip,) = skips(found)
    assert (skip.place, skip.what) == ("labels/a.txt:2", "box")
    assert reason in skip.reason
    assert len(images(found)[0].annotations or ()) == 1


def test_outlines_become_polygons_with_their_bounds(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png", (100, 100))
    write("labels/a.txt", "0 0.1 0.2 0.5 0.2 0.5 0.6")
    write("data.yaml", "names: [cat]")
    (box,) = _boxes(folder)
    assert (box.x, box.y, box.width, box.height) == (10, 20, 40, 40)
    assert box.segmentation == [[10, 20, 50, 20, 50, 60]]


def test_a_score_in_the_sixth_column_is_not_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", "0 0.5 0.5 0.2 0.1 0.93")
    write("data.yaml", "names: [cat]")
    assert _boxes(folder)[0].score is None


def test_an_empty_label_file_shows_nothing_and_a_missing_one_is_unannotated(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    make_picture("images/b.png")
    write("labels/a.txt", "")
    write("data.yaml", "names: [cat]")
    assert [image.annotations for image in images(list(YoloFormat().read(folder)))] == [(), None]


@pytest.mark.parametrize(
    "yaml",
    [
        "path: /datasets/elsewhere\ntrain: images/train\nval: images/val\nnames: [cat]",
        "train: ../train/../images/train\nval: ./images/val/\nnames: [cat]",
        "train: [images/train]\nval: D:\\data\\images\\val\nnames: [cat]",
        "train: lists/train.txt\nval: lists/val.txt\nnames: [cat]",
        "names: [cat]",
    ],
)
def test_splits_come_from_the_entries_wherever_the_file_was_written(
    folder: Path, make_picture: MakePicture, write: Write, yaml: str
) -> None:
    for split in ("train", "val"):
        make_picture(f"images/{split}/{split}.png")
        write(f"lists/{split}.txt", f"./images/{split}/{split}.png\n")
    write("data.yaml", yaml)
    found = list(YoloFormat().read(folder))
    assert {image.name: image.splits for image in images(found)} == {
        "images/train/train.png": ("train",),
        "images/val/val.png": ("val",),
    }


def test_darknet_folders_are_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("obj_train_data/a.png")
    write("obj_train_data/a.txt", ROW)
    write("obj.names", "Cat\n")
    write("obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    write("train.txt", "data/obj_train_data/a.png\ndata/obj_train_data/gone.png\n")
    found = list(YoloFormat().read(folder))
    assert YoloFormat().detect(folder)
    (image,) = images(found)
    assert (image.splits, [box.class_name for box in image.annotations or ()]) == (("train",), ["cat"])
    assert [skip.place for skip in skips(found)] == ["train.txt:2"]


def test_without_names_the_ids_are_the_names_and_the_report_says_so(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", ROW)
    found = list(YoloFormat().read(folder))
    assert images(found)[0].annotations[0].class_name == "0"  # type: ignore[index]
    assert [skip.what for skip in skips(found)] == ["mended"]


def test_labels_without_a_picture_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", ROW)
    write("labels/gone.txt", ROW)
    write("labels/classes.txt", "cat\n")
    assert [(skip.place, skip.what) for skip in skips(list(YoloFormat().read(folder)))] == [("labels/gone.txt", "file")]


@pytest.mark.parametrize(
    "yaml",
    [
        "names: [cat",
        "names: 5",
        "a: &a [x,x]\nb: &b [*a,*a]\nnames: *b",
        "names: " + "[" * 5000,
        "names: {a: cat}",
    ],
)
def test_a_broken_or_hostile_yaml_is_named(folder: Path, make_picture: MakePicture, write: Write, yaml: str) -> None:
    make_picture("images/a.png")
    write("labels/a.txt", ROW)
    write("data.yaml", yaml)
    found = list(YoloFormat().read(folder))
    assert ("data.yaml", "file") in [(skip.place, skip.what) for skip in skips(found)]


def test_labels_of_something_that_is_no_picture_are_left_out_with_it(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/a.png")
    write("images/b.png", "no picture")
    write("labels/b.txt", ROW)
    write("data.yaml", "names: [cat]")
    found = list(YoloFormat().read(folder))
    assert [image.name for image in images(found)] == ["images/a.png"]
    assert [(skip.place, skip.what) for skip in skips(found)] == [("images/b.png", "image")]


def test_boxes_beside_outlines_and_objects_of_several_outlines_become_outlines_and_are_said(tmp_path: Path) -> None:
    """Ultralytics takes every row of a file for an outline when one is."""
    first, second = [1.0, 1.0, 11.0, 1.0, 11.0, 11.0], [20.0, 20.0, 30.0, 20.0, 30.0, 30.0]
    parts = Annotation("cat", 1.0, 1.0, 29.0, 29.0, segmentation=[first, second])
    sample = make_sample(tmp_path, 1, [parts, Annotation("dog", 2.0, 3.0, 10.0, 20.0)], split="train")
    warnings = write_samples(YoloFormat(), tmp_path / "out", [sample])
    assert [warning.code for warning in warnings] == ["export_corners", "export_parts"]
    (joined, box) = read_back(YoloFormat(), tmp_path / "out")[0][sample.asset.id].annotations or ()
    assert isinstance(joined.segmentation, list)
    assert isinstance(box.segmentation, list)
    assert area(joined) == pytest.approx(100, abs=1e-3)
    assert box.segmentation[0] == pytest.approx([2, 3, 12, 3, 12, 23, 2, 23], abs=1e-5)


def test_data_yaml_is_as_ultralytics_wants_it(tmp_path: Path) -> None:
    samples = [
        make_sample(tmp_path, seed, [Annotation("no", 1.0, 1.0, 5.0, 5.0)], split=split)
        for seed, split in enumerate(("train", "val", "odd"))
    ]
    codes = [warning.code for warning in write_samples(YoloFormat(), tmp_path / "out", samples)]
    text = (tmp_path / "out" / "data.yaml").read_text()
    assert yaml.safe_load(text) == {"path": ".", "train": "images/train", "val": "images/val", "names": {0: "no"}}
    assert codes == ["export_split"]

"""Labels of whole pictures: by folders, and by text files beside the pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.dataset import Annotation
from contracts.seams import Format
from plugins.formats.classes import ClassFoldersFormat, ClassTextFormat
from plugins.formats.yolo import YoloFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import make_sample, read_back
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]
Labels = dict[str, tuple[list[str] | None, tuple[str, ...]]]


class OfWholePictures(FormatConformance):
    """Of what is asked of all formats, what those without boxes can give."""

    def test_what_it_writes_reads_back_equal(self, format_: Format, tmp_path: Path) -> None:
        samples = [make_sample(tmp_path, seed, [_label(name)], split="val") for seed, name in enumerate(("cat", "red fox"))]
        assert write_samples(format_, tmp_path / "out", samples) == []
        found, _ = read_back(format_, tmp_path / "out")
        assert [found[sample.asset.id].annotations for sample in samples] == [sample.annotations for sample in samples]

    def test_a_hundred_thousand_objects_in_one_picture_are_written_and_read(self, format_: Format, tmp_path: Path) -> None:
        """They are counted, and the picture is one of which nothing is known."""
        boxes = [Annotation("cat", 1.0, 2.0, 3.0, 4.0)] * 100_000
        (warning,) = write_samples(format_, tmp_path / "out", [make_sample(tmp_path, 1, boxes)])
        assert (warning.code, warning.message.split()[0]) == ("export_box", "100000")
        assert [image.annotations for image in read_back(format_, tmp_path / "out")[0].values()] == [None]


class TestClassFoldersFormat(OfWholePictures):
    @pytest.fixture
    def format_(self) -> ClassFoldersFormat:
        return ClassFoldersFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture) -> Path:
        for name in ("train/Cat/a.jpg", "train/Dog/b.jpg", "val/Cat/c.jpg"):
            make_picture(name)
        return folder


class TestClassTextFormat(OfWholePictures):
    @pytest.fixture
    def format_(self) -> ClassTextFormat:
        return ClassTextFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for name, labels in (("a", "Cat\n"), ("b", "Cat\nDog\n")):
            make_picture(f"{name}.jpg")
            write(f"{name}.txt", labels)
        return folder


def _read(format_: ClassFoldersFormat | ClassTextFormat, folder: Path) -> Labels:
    found = images(list(format_.read(folder)))
    assert all(box.shape == "image" for image in found for box in image.annotations or ())
    return {
        image.name: (None if image.annotations is None else [box.class_name for box in image.annotations], image.splits) for image in found
    }


def test_the_last_folder_is_the_class(folder: Path, make_picture: MakePicture) -> None:
    make_picture("animals/pets/cat/a.jpg")
    make_picture("animals/wolf/b.jpg")
    make_picture("c.jpg")
    assert _read(ClassFoldersFormat(), folder) == {
        "animals/pets/cat/a.jpg": (["cat"], ()),
        "animals/wolf/b.jpg": (["wolf"], ()),
        "c.jpg": (None, ()),
    }


def test_a_class_may_be_called_as_a_split_where_other_classes_lie_beside_it(folder: Path, make_picture: MakePicture) -> None:
    for name in ("bus/a.jpg", "train/b.jpg", "Validation/c.jpg"):
        make_picture(name)
    assert ClassFoldersFormat().detect(folder)
    assert {labels[0] for labels, _ in _read(ClassFoldersFormat(), folder).values() if labels} == {"bus", "train", "validation"}


def test_a_class_called_as_a_split_inside_of_splits(folder: Path, make_picture: MakePicture) -> None:
    for name in ("train/bus/a.jpg", "train/train/b.jpg", "val/train/c.jpg", "val/bus/d.jpg"):
        make_picture(name)
    assert _read(ClassFoldersFormat(), folder)["val/train/c.jpg"] == (["train"], ("val",))


def test_pictures_straight_in_a_split_are_unannotated(folder: Path, make_picture: MakePicture) -> None:
    make_picture("train/a.jpg")
    make_picture("train/cat/b.jpg")
    make_picture("train/dog/c.jpg")
    assert _read(ClassFoldersFormat(), folder)["train/a.jpg"] == (None, ("train",))


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "b.jpg"),
        ("cat/a.jpg", "cat/b.jpg"),
        ("train/a.jpg", "val/b.jpg"),
        ("cat/a.jpg", "dog/b.jpg", "c.jpg"),
        ("cat/a.jpg", "x/dog/b.jpg"),
        ("images/a.jpg", "other/b.jpg"),
        ("cat/a.jpg", "dog/b.jpg", "dog/b.xml"),
        ("cat/a.jpg", "dog/b.jpg", "annotations.json"),
        ("cat/a.jpg", "dog/b.jpg", "dog/b.txt"),
        ("cat/a.jpg", "dog/b.jpg", "table.csv"),
    ],
)
def test_folders_are_not_taken_for_classes_where_they_may_be_something_else(
    folder: Path, make_picture: MakePicture, write: Write, names: tuple[str, ...]
) -> None:
    for name in names:
        make_picture(name) if name.endswith(".jpg") else write(name, "x")
    assert ClassFoldersFormat().detect(folder) == ""


def test_a_folder_whose_name_is_no_class_is_named(folder: Path, make_picture: MakePicture) -> None:
    make_picture("cat/a.jpg")
    make_picture(f"{'x' * 201}/b.jpg")
    found = list(ClassFoldersFormat().read(folder))
    assert len(images(found)) == 1
    assert [skip.what for skip in skips(found)] == ["file"]


def test_a_folder_of_a_hundred_thousand_files_is_read(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
    for number in range(100_000):
        (folder / "cat" / f"{number}.jpg").touch()
    (folder / "dog" / "a.jpg").touch()
    assert ClassFoldersFormat().detect(folder).startswith("pictures in 2 folders")
    assert sum(1 for _ in ClassFoldersFormat().read(folder)) == 100_001


def test_text_files_count_more_than_folders(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name, label in (("cat/a", "tabby\nSleeping \n"), ("dog/b", "tabby")):
        make_picture(f"train/{name}.jpg")
        write(f"train/{name}.txt", label)
    assert (ClassFoldersFormat().detect(folder), YoloFormat().detect(folder)) == ("", "")
    assert ClassTextFormat().detect(folder)
    assert _read(ClassTextFormat(), folder) == {
        "train/cat/a.jpg": (["tabby", "sleeping"], ("train",)),
        "train/dog/b.jpg": (["tabby"], ("train",)),
    }


@pytest.mark.parametrize(
    "contents",
    [
        ["0 0.5 0.5 0.2 0.1\n", "cat"],
        ["", " \n"],
        [f"a photo of thing number {number}, best quality" for number in range(12)],
        ["x" * 65],
        ["0, 10, 20, 30, 40, -1.0, 0.0\n", "cat"],
        ["a\x00b"],
    ],
)
def test_rows_of_boxes_and_long_descriptions_are_no_labels(
    folder: Path, make_picture: MakePicture, write: Write, contents: list[str]
) -> None:
    for number, content in enumerate(contents):
        make_picture(f"{number}.jpg")
        write(f"{number}.txt", content)
    assert ClassTextFormat().detect(folder) == ""


def test_empty_missing_and_broken_text_files_mean_what_they_are(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in "abcd":
        make_picture(f"{name}.jpg")
    write("a.txt", "")
    write("b.txt", "cat\n0 0.5 0.5 0.2 0.1\ncat\n" + "y" * 300 + "\n")
    write("c.txt", b"\xff\xff\xff")
    write("e.txt", "dog")
    found = list(ClassTextFormat().read(folder))
    assert {image.name: image.annotations and len(image.annotations) for image in images(found)} == {"a.jpg": (), "b.jpg": 1, "d.jpg": None}
    assert [(skip.place, skip.what) for skip in skips(found)] == [
        ("b.txt:2", "box"),
        ("b.txt:3", "box"),
        ("b.txt:4", "box"),
        ("c.txt", "file"),
        ("c.jpg", "image"),
        ("e.txt", "file"),
    ]


def test_labels_in_gbk_are_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.txt", "检测目标\n".encode("gbk"))
    assert _read(ClassTextFormat(), folder) == {"a.jpg": (["检测目标"], ())}


def _label(name: str) -> Annotation:
    return Annotation(name, 0.0, 0.0, 0.0, 0.0, shape="image")


def test_class_folders_read_back_and_say_what_a_folder_cannot_hold(tmp_path: Path) -> None:
    names = ["cat", "red car", "猫", "train", "a/b", "con", "..."]
    samples = [make_sample(tmp_path, seed, [_label(name)], split="train") for seed, name in enumerate(names)]
    samples.append(make_sample(tmp_path, 20, [_label("cat"), _label("dog"), Annotation("cat", 1.0, 1.0, 2.0, 2.0)], split="holdout"))
    warnings = write_samples(ClassFoldersFormat(), tmp_path / "out", samples)
    assert [(warning.code, warning.message.split()[0]) for warning in warnings] == [
        ("export_box", "1"),
        ("export_labels", "1"),
        ("export_names", "4"),
        ("export_split", "1"),
    ]
    found, _ = read_back(ClassFoldersFormat(), tmp_path / "out")
    read = [[box.class_name for box in found[sample.asset.id].annotations or ()] for sample in samples]
    assert read[:3] == [["cat"], ["red car"], ["猫"]]
    assert all(len(labels) == 1 for labels in read)

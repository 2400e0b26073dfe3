"""Pascal VOC: layouts found in the wild, and what is broken in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.formats.voc import VocFormat
from tests.conformance.format import FormatConformance, images, skips

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


def xml(*objects: str, filename: str = "", size: str = "<size><width>100</width><height>80</height></size>") -> str:
    return f"<annotation><filename>{filename}</filename>{size}{''.join(objects)}</annotation>"


def obj(name: str = "Cat", box: str = "<xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>50</ymax>", more: str = "") -> str:
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


class TestVocFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> VocFormat:
        return VocFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for number in range(3):
            make_picture(f"JPEGImages/{number}.jpg")
        write("Annotations/0.xml", xml(obj(), filename="0.jpg"))
        write("Annotations/1.xml", xml())
        write("ImageSets/Main/train.txt", "0\n")
        write("ImageSets/Main/val.txt", "1\n")
        return folder


def test_corners_are_inclusive_pixels(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.xml", xml(obj(more="<difficult>1</difficult>")))
    (image,) = images(list(VocFormat().read(folder)))
    (box,) = image.annotations or ()
    assert (box.class_name, box.x, box.y, box.width, box.height, box.difficult) == ("cat", 10, 20, 21, 31, True)
    assert image.declared_size == (100, 80)


def test_a_picture_without_xml_is_unannotated_and_one_with_an_empty_xml_shows_nothing(
    folder: Path, make_picture: MakePicture, write: Write
) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("b.xml", xml())
    assert [image.annotations for image in images(list(VocFormat().read(folder)))] == [None, ()]


def test_size_and_optional_tags_may_be_missing_and_coordinates_may_be_floats(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.xml", xml(obj(box="<ymax> 50.5 </ymax><xmin>1e1</xmin><ymin>20.25</ymin><xmax>30.</xmax>"), size=""))
    (image,) = images(list(VocFormat().read(folder)))
    (box,) = image.annotations or ()
    assert (box.x, box.y, box.width, box.height) == (10, 20.25, 21, 31.25)
    assert image.declared_size is None


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (obj(box="<xmin>NaN</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"), "xmin is not a number"),
        (obj(box="<xmin>1</xmin><ymin>1</ymin><xmax>1e300</xmax><ymax>5</ymax>"), "xmax is out of all bounds"),
        (obj(box="<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"), "ymax is missing"),
        (obj(name="  "), "class name is missing"),
        ("<object><name>cat</name></object>", "no bndbox"),
        ("<object><name>cat</name><robndbox><cx>3</cx></robndbox></object>", "rotated boxes"),
    ],
)
def test_a_broken_object_is_named_and_the_others_are_kept(
    folder: Path, make_picture: MakePicture, write: Write, broken: str, reason: str
) -> None:
    make_picture("a.jpg")
    write("a.xml", xml(broken, obj()))
    found = list(VocFormat().read(folder))
    (skip,) = skips(found)
    assert (skip.place, skip.what) == ("a.xml#object 1", "box")
    assert reason in skip.reason
    assert len(images(found)[0].annotations or ()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        b"<annotation><object>",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation><filename>&f;</filename></annotation>',
        b'<?xml version="1.0" encoding="klingon"?><annotation/>',
    ],
)
def test_a_picture_whose_xml_cannot_be_read_is_left_out_and_not_taken_as_unannotated(
    folder: Path, make_picture: MakePicture, write: Write, content: bytes
) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("a.xml", content)
    found = list(VocFormat().read(folder))
    assert [image.name for image in images(found)] == ["b.jpg"]
    assert [(skip.place, skip.what) for skip in skips(found)] == [("a.xml", "file"), ("a.jpg", "image")]


def test_a_very_deep_xml_is_survived(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.xml", "<annotation>" + "<a>" * 200_000 + "</a>" * 200_000 + "</annotation>")
    list(VocFormat().read(folder))


def test_chinese_encodings_and_names_are_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("图片.jpg")
    text = '<?xml version="1.0" encoding="GB2312"?>' + xml(obj(name="猫"), filename="图片.jpg")
    write("图片.xml", text.encode("gb2312"))
    (image,) = images(list(VocFormat().read(folder)))
    assert image.name == "图片.jpg"
    assert [box.class_name for box in image.annotations or ()] == ["猫"]


def test_the_same_name_in_several_folders_is_matched_to_the_nearest(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for part, name in (("north", "cat"), ("south", "dog")):
        make_picture(f"{part}/JPEGImages/1.jpg")
        write(f"{part}/Annotations/1.xml", xml(obj(name)))
    found = {image.name: image.annotations for image in images(list(VocFormat().read(folder)))}
    assert {name: [box.class_name for box in boxes or ()] for name, boxes in found.items()} == {
        "north/JPEGImages/1.jpg": ["cat"],
        "south/JPEGImages/1.jpg": ["dog"],
    }


def test_the_file_name_inside_is_used_when_no_picture_has_the_name_of_the_xml(
    folder: Path, make_picture: MakePicture, write: Write
) -> None:
    make_picture("IMG_0001.JPG")
    write("labels/first.xml", xml(obj(), filename="C:\\pictures\\img_0001.jpg"))
    (image,) = images(list(VocFormat().read(folder)))
    assert len(image.annotations or ()) == 1


def test_two_files_for_one_picture_are_reported(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("JPEGImages/1.jpg")
    write("Annotations/1.xml", xml(obj()))
    write("Annotations_old/1.xml", xml(obj(), obj()))
    found = list(VocFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert [(skip.place, skip.what) for skip in skips(found)] == [("Annotations_old/1.xml", "file")]


def test_an_xml_without_a_picture_is_reported(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    write("2.xml", xml(obj(), filename="3.jpg"))
    (skip,) = skips(list(VocFormat().read(folder)))
    assert skip.place == "2.xml"
    assert "no picture 2 or 3.jpg" in skip.reason


def test_names_in_a_split_that_no_picture_has_are_reported_with_their_line(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("JPEGImages/1.jpg")
    write("Annotations/1.xml", xml())
    write("ImageSets/Main/train.txt", "1\n\nmissing  1\n")
    found = list(VocFormat().read(folder))
    assert images(found)[0].splits == ("train",)
    assert [skip.place for skip in skips(found)] == ["ImageSets/Main/train.txt:3"]


def test_folders_named_after_splits_count_when_there_are_no_lists(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for part in ("train", "valid", "test"):
        make_picture(f"{part}/{part}.jpg")
        write(f"{part}/{part}.xml", xml(obj()))
    assert {image.name: image.splits for image in images(list(VocFormat().read(folder)))} == {
        "train/train.jpg": ("train",),
        "valid/valid.jpg": ("val",),
        "test/test.jpg": ("test",),
    }

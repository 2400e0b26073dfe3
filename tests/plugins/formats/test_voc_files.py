"""What is written as VOC is strict and reads back equal; what the strict check finds wrong has a place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contracts.dataset import Annotation, Asset, Marks
from plugins.formats.left_out import LeftOut
from plugins.formats.masks import voc_color
from plugins.formats.voc import VocFormat
from plugins.formats.voc_read import parse_xml, read_voc
from plugins.formats.voc_strict import check_strict
from plugins.formats.voc_write import VocFile, write_voc
from tests.conformance.format import images, skips
from tests.plugins.formats import exports
from tests.plugins.formats.exports import HEIGHT, WIDTH, by_name, make_sample, mask, plain, round_trip

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]
ASSET = Asset("0" * 40, "png", WIDTH, HEIGHT, 1)


@given(st.lists(exports.shapes, max_size=4), exports.marks)
def test_what_is_written_passes_the_strict_check_and_reads_back_equal(drawn: list[Annotation], marks: Marks) -> None:
    left_out = LeftOut()
    text, _ = write_voc(VocFile("a.png", ASSET, drawn, marks, hard=True), left_out)
    assert check_strict(text, "a.xml") == []
    content = read_voc(parse_xml(text.encode()), "a.xml")
    assert (content.size, content.notes, left_out.warnings()) == ((WIDTH, HEIGHT), [], [])
    assert plain(content.annotations) == plain(drawn)
    assert replace(content.marks, tags={}) == replace(marks, tags={})
    assert dict(content.marks.tags) == dict(marks.tags)


@given(st.lists(exports.boxes(score=st.floats(0, 1)), min_size=1, max_size=4))
def test_predictions_read_back_with_their_scores(found: list[Annotation]) -> None:
    text, _ = write_voc(VocFile("a.png", ASSET, found), LeftOut())
    assert plain(read_voc(parse_xml(text.encode()), "a.xml", scored=True).annotations) == found


@given(st.lists(exports.shapes, max_size=3))
def test_marks_of_hard_examples_are_written_only_when_they_are_asked_for(drawn: list[Annotation]) -> None:
    marks = Marks(hard=True, hard_coefficient=0.5, hard_reasons=(1, 20))
    text, _ = write_voc(VocFile("a.png", ASSET, drawn, marks), LeftOut())
    assert "hard" not in text
    assert read_voc(parse_xml(text.encode()), "a.xml").marks == Marks()


def test_a_folder_reads_back_with_its_splits_masks_and_pictures_nobody_looked_at(tmp_path: Path) -> None:
    outlined = [
        Annotation("cat", 2, 2, 10, 8, segmentation=mask((2, 2, 12, 10))),
        Annotation("dog", 20, 20, 10, 8, segmentation=[[20.0, 20.0, 30.0, 20.0, 25.5, 28.0]]),
        Annotation("dog", 40, 5, 20, 30),
        Annotation("red fox", 30, 1, 4, 4, segmentation=mask((30, 1, 34, 3), (32, 1, 33, 5))),
    ]
    samples = [
        make_sample(tmp_path, 1, annotations=tuple(outlined), split="train"),
        make_sample(tmp_path, 2, split="val"),
        make_sample(tmp_path, 3, marks=Marks(state="unlabeled"), split="pool"),
        make_sample(tmp_path, 4, name="1.JPG.png", annotations=(Annotation("cat", 1, 2, 3, 4),)),
        make_sample(tmp_path, 5, name="1.jpg", annotations=(Annotation("dog", 1, 2, 3, 4),)),
    ]
    found, warnings, written = round_trip(VocFormat(), samples)
    read = by_name(found)
    assert (skips(found), warnings) == ([], [])
    assert {name: image.splits for name, image in read.items()} == {s.name: ((s.split,) if s.split else ()) for s in written}
    assert read[written[2].name].annotations is None
    for sample in (written[0], written[1], written[3], written[4]):
        image = read[sample.name]
        expected = [replace(one, x=20.0, y=20.0) if one.class_name == "dog" and one.segmentation else one for one in sample.annotations]
        assert plain(image.annotations) == expected


def test_what_voc_cannot_hold_is_said(tmp_path: Path) -> None:
    drawn = (
        Annotation("cat", 0, 0, 0, 0, shape="image"),
        Annotation("cat", 2, 2, 10, 8, segmentation=mask((2, 2, 12, 10))),
        Annotation("cat", 4, 4, 10, 8, segmentation=mask((4, 4, 14, 12))),
        Annotation("dog", 1, 1, 20, 20, segmentation=[[1.0, 1, 5, 1, 5, 5], [9.0, 9, 21, 9, 21, 21]]),
    )
    sample = make_sample(tmp_path, 1, annotations=drawn, split="fold1", predictions=())
    found, warnings, _ = round_trip(VocFormat(), [sample], class_names=("dog", "cat"))
    assert [warning.code for warning in warnings] == ["splits", "predictions", "image_labels", "outlines", "outlines", "class_order"]
    assert "overlap" in warnings[3].message
    assert all("img_1" in warning.place for warning in warnings[2:5])
    assert [bool(box.segmentation) for box in images(found)[0].annotations or ()] == [True, False, False]


# ------------------------------------------------------------------------------------------------------------ strict check

GOOD = """<annotation><folder>NA</folder><filename>a.jpg</filename><source><database>Unknown</database></source>
<size><width>64</width><height>48</height><depth>3</depth></size><segmented>0</segmented>
<object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def test_a_file_to_the_letter_has_no_problem() -> None:
    assert check_strict(GOOD) == []


@pytest.mark.parametrize("tag", ["folder", "filename", "size", "width", "height", "depth", "segmented"])
def test_a_missing_mandatory_element_of_the_picture_is_named(tag: str) -> None:
    problems = check_strict(_without(GOOD, tag), "labels/a.xml")
    assert len(problems) == 1
    assert problems[0].startswith("labels/a.xml: annotation")
    assert f"<{tag}> is missing" in problems[0]


@pytest.mark.parametrize("tag", ["name", "pose", "truncated", "occluded", "difficult", "xmin", "ymin", "xmax", "ymax"])
def test_a_missing_mandatory_element_of_an_object_is_named(tag: str) -> None:
    (problem,) = check_strict(_without(GOOD, tag), "a.xml")
    assert "annotation/object[1]" in problem
    assert f"<{tag}> is missing" in problem


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<ymax>20</ymax>", "<ymin>20</ymin>", "object[1]/bndbox: there are 2 <ymin>"),
        ("<ymax>20</ymax>", "<ymax>20</ymax><ymax>21</ymax>", "object[1]/bndbox: there are 2 <ymax>"),
        ("<ymax>20</ymax>", "<ymax>49</ymax>", "object[1]/bndbox/ymax: 49 lies outside of 0 to 48"),
        ("<ymax>20</ymax>", "<ymax>1</ymax>", "object[1]/bndbox: ymax 1 lies before ymin 2"),
        ("<ymax>20</ymax>", "<ymax>NaN</ymax>", "<ymax> is not a number"),
        ("<pose>Unspecified</pose>", "<pose> </pose>", "object[1]/pose: is empty"),
        ("<difficult>0</difficult>", "<difficult>unknown</difficult>", "<difficult> is not a number"),
        ("<difficult>0</difficult>", "<difficult>2</difficult>", "object[1]/difficult: 2 is not 0 or 1"),
        ("<width>64</width>", "<width>64.5</width>", "size/width: 64.5 is not a whole number"),
        ("</bndbox>", "</bndbox><circle><cx>1</cx><cy>1</cy><r>1</r></circle>", "exactly one shape must be there, found <bndbox>, <circle>"),
        ("<bndbox>", "<mask_color>1,2,3</mask_color><bndbox>", "<mask_color> without a <mask_source>"),
        ("</size>", "</size><mask_source>a.png</mask_source>", "object[1]: <mask_color> is missing"),
        ("<name>", "<confidence>1.5</confidence><name>", "confidence: 1.5 lies outside of 0 to 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_element(old: str, new: str, problem: str) -> None:
    assert any(problem in found for found in check_strict(GOOD.replace(old, new), "a.xml"))


@pytest.mark.parametrize("shape", ["<line><x1>1</x1><y1>1</y1><x2>2</x2></line>", "<polygon><x1>1</x1><y1>1</y1></polygon>", "<point/>"])
def test_a_shape_without_its_points_is_named(shape: str) -> None:
    start, end = GOOD.index("<bndbox>"), GOOD.index("</object>")
    assert check_strict(GOOD[:start] + shape + GOOD[end:])


def test_what_is_no_xml_is_a_problem_too() -> None:
    assert "is not readable XML" in check_strict("<annotation>", "a.xml")[0]
    assert "entities" in check_strict('<!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>')[0]
    assert "the root is <html>" in check_strict("<html/>")[0]


def _without(text: str, tag: str) -> str:
    start, end = text.index(f"<{tag}>"), text.index(f"</{tag}>") + len(tag) + 3
    return text[:start] + text[end:]


# ---------------------------------------------------------------------------------------------------------- tolerant reader


def _read(xml: str) -> tuple[list[Annotation], list[str], Marks]:
    content = read_voc(parse_xml(xml.encode()), "a.xml")
    return plain(content.annotations) or [], [note.reason for note in content.notes], content.marks


def _object(inner: str) -> str:
    return f"<annotation><object><name>Cat</name>{inner}</object></annotation>"


def test_words_and_unknown_values_of_ymir_say_nothing() -> None:
    inner = "<pose>unknown</pose><truncated>unknown</truncated><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    (found,), _, marks = _read(_object(inner + "<box_quality>-1.0000</box_quality><confidence>-1.0000</confidence>"))
    assert found == Annotation("cat", 1, 1, 5, 5)
    assert marks == Marks()


def test_a_confidence_stays_an_attribute_of_ground_truth() -> None:
    (found,), _, _ = _read(_object("<confidence>0.8</confidence><point><x>1</x><y>2</y></point>"))
    assert (found.score, found.attributes["confidence"]) == (None, 0.8)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ("<bndbox><xmin>1</xmin><ymin>1</ymin><ymin>9</ymin><xmax>5</xmax></bndbox>", "there are 2 ymin"),
        ("<polygon><x1>1</x1><y1>1</y1><x2>2</x2></polygon>", "y2 is missing"),
        ("<polygon><x1>1</x1><y1>1</y1><x2>2</x2><y2>2</y2></polygon>", "less than three points"),
        ("<line><x1>1</x1><y1>1</y1></line>", "a line has 2 values"),
        ("<circle><cx>1</cx><cy>1</cy><r>-1</r></circle>", "the radius of a circle is -1"),
        ("<point/>", "the point has no points"),
        ("<point><x>1</x><y>1</y></point><line/>", "several shapes: point, line"),
        ("<point><x>inf</x><y>1</y></point>", "x is not a number"),
        ("<robndbox><cx>1</cx></robndbox>", "rotated boxes (robndbox) are not read"),
    ],
)
def test_a_shape_that_cannot_be_read_is_named(shape: str, reason: str) -> None:
    found, reasons, _ = _read(_object(shape))
    assert found == []
    assert reason in reasons[0]


def test_a_box_beside_a_polygon_bounds_it() -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    (found,), _, _ = _read(_object(box + "<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>9</y3></polygon>"))
    assert (found.x, found.width, found.segmentation) == (1, 9, [[1, 1, 9, 1, 9, 9]])


def test_masks_of_vocs_own_numbering_become_outlines_and_no_pictures(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("JPEGImages/1.jpg", (WIDTH, HEIGHT))
    box = "<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>"
    objects = "".join(f"<object><name>cat</name>{box.format(x, x + 5)}</object>" for x in (1, 20))
    write("Annotations/1.xml", f"<annotation><segmented>1</segmented>{objects}</annotation>")
    picture = Image.new("P", (WIDTH, HEIGHT), 0)
    picture.putpalette([part for number in range(256) for part in voc_color(number)])
    picture.paste(1, (0, 0, 5, 9))
    picture.paste(2, (19, 0, 25, 9))
    picture.paste(255, (6, 0, 7, 9))
    for name in ("SegmentationObject", "SegmentationClass"):
        (folder / name).mkdir()
        picture.save(folder / name / "1.png")
    found = list(VocFormat().read(folder))
    (image,) = images(found)
    assert [box.segmentation for box in image.annotations or ()] == [mask((0, 0, 5, 9)), mask((19, 0, 25, 9))]
    assert skips(found) == []


@pytest.mark.parametrize("content", [b"", b"no png", b"\x89PNG\r\n\x1a\n"])
def test_a_broken_mask_costs_the_outline_and_is_named(folder: Path, make_picture: MakePicture, write: Write, content: bytes) -> None:
    make_picture("1.jpg")
    write("masks/1.png.x", b"")
    write("SegmentationObject/1.png", content)
    shape = "<mask_color>1,2,3</mask_color><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    source = "<mask_source>s3://b/SegmentationObject/1.png</mask_source>"
    write("1.xml", f"<annotation>{source}<object><name>cat</name>{shape}</object></annotation>")
    found = list(VocFormat().read(folder))
    assert [box.segmentation for box in images(found)[0].annotations or ()] == [None]
    assert [(skip.what, "its mask" in skip.reason) for skip in skips(found)] == [("mended", True)]


def test_a_mask_of_giant_size_is_refused_before_it_is_decoded(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    write(
        "1.xml",
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>",
    )
    write("SegmentationObject/1.png", giant_png())
    found = list(VocFormat().read(folder))
    assert "more than are read" in skips(found)[0].reason
    assert images(found)[0].annotations


def giant_png() -> bytes:
    """A PNG whose header promises 65,000 x 65,000 pixels."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 65_000, 65_000, 8, 3, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IEND\xaeB`\x82"


_TEXTS = st.sampled_from(["0", "1", "2", "", " 7 ", "007", "3.5", "-4", "x", "99999999", "1e3", "٣", "yes", "Frontal", "unspecified", None])
_TAGS = st.sampled_from(["name", "pose", "truncated", "occluded", "difficult", "bndbox", "crowd", "note", "point"])


@given(
    children=st.lists(st.tuples(_TAGS, _TEXTS), max_size=7),
    corners=st.lists(st.tuples(st.sampled_from(["xmin", "ymin", "xmax", "ymax", "rotate_angle"]), _TEXTS), max_size=5),
    whole=st.booleans(),
)
def test_the_short_way_for_plain_objects_reads_what_the_long_way_reads(
    children: list[tuple[str, str | None]], corners: list[tuple[str, str | None]], whole: bool
) -> None:
    """A file that says who made an object has to take the long way; but for that both are the same."""
    root = Element("annotation")
    element = SubElement(root, "object")
    if whole:
        children = [("name", "Cell"), ("bndbox", None), *(child for child in children if child[0] not in ("name", "bndbox"))]
        corners = [*zip(("xmin", "ymin", "xmax", "ymax"), ("1", "2", "30", "40"), strict=True)][: 4 - len(corners) % 2]
    for tag, text in children:
        SubElement(element, tag).text = text
    for tag, text in corners:
        for box in element.findall("bndbox"):
            SubElement(box, tag).text = text
    short = read_voc(root, "a.xml")
    SubElement(element, "annotated-by").text = ""
    assert read_voc(root, "a.xml") == short

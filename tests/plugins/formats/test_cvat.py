"""CVAT for images 1.1: every shape of its documentation, and what is broken in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation
from contracts.seams import ClassNames
from plugins.formats.cvat import CvatFormat
from plugins.formats.mask_runs import rows_of
from plugins.formats.voc import VocFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import make_sample, read_back, same
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


def document(*elements: str) -> str:
    labels = "".join(f"<label><name>{name}</name><color>#ff00aa</color><attributes/></label>" for name in ("Car", "Plate"))
    meta = f"<version>1.1</version><meta><task><name>t</name><labels>{labels}</labels></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{meta}{"".join(elements)}</annotations>'


def image(name: str, *shapes: str, **words: Any) -> str:
    said = " ".join(f'{key}="{value}"' for key, value in {"id": 0, "name": name, "width": 100, "height": 80, **words}.items())
    return f"<image {said}>{''.join(shapes)}</image>"


BOX = '<box label="Car" source="manual" occluded="0" xtl="1.5" ytl="2" xbr="11.5" ybr="22" z_order="0"></box>'


class TestCvatFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> CvatFormat:
        return CvatFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for name in ("images/train/a.jpg", "images/val/b.jpg"):
            make_picture(name)
        write("annotations.xml", document(image("a.jpg", BOX, subset="Train"), image("b.jpg", BOX, subset="val")))
        return folder


def _read_one(folder: Path, make_picture: MakePicture, write: Write, *shapes: str, **words: Any) -> tuple[list[Annotation], list[Any]]:
    make_picture("a.jpg")
    write("annotations.xml", document(image("a.jpg", *shapes, **words)))
    found = list(CvatFormat().read(folder))
    return [box for item in images(found) for box in item.annotations or ()], skips(found)


def test_it_is_not_taken_for_voc_and_voc_not_for_it(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("annotations.xml", document(image("a.jpg", BOX)))
    assert (VocFormat().detect(folder), bool(CvatFormat().detect(folder))) == ("", True)
    write("annotations.xml", "<annotation><object/></annotation>")
    assert (bool(VocFormat().detect(folder)), CvatFormat().detect(folder)) == (True, "")


def test_boxes_have_their_attributes(folder: Path, make_picture: MakePicture, write: Write) -> None:
    shape = '<box label=" Car" source="auto" occluded="1" xtl="1.5" ytl="2" xbr="11.5" ybr="22" z_order="4" group_id="2">'
    shape += '<attribute name="parked">true</attribute><attribute name="model">a&lt;b </attribute></box>'
    ((box,), notes) = _read_one(folder, make_picture, write, shape)
    assert box == Annotation(
        "car",
        1.5,
        2,
        10,
        20,
        attributes={"parked": True, "model": "a<b", "occluded": True, "z_order": 4, "group_id": 2},
        annotated_by="auto",
    )
    assert notes == []


def test_shapes_of_every_kind(folder: Path, make_picture: MakePicture, write: Write) -> None:
    boxes, notes = _read_one(
        folder,
        make_picture,
        write,
        '<polygon label="car" points="1.00,2.00;11,2;11,22" occluded="0"/>',
        '<polyline label="car" points="1,2;11,22"/>',
        '<polyline label="car" points="1,2;11,22;5,30"/>',
        '<points label="car" points="1,2;11,22"/>',
        '<ellipse label="car" cx="20" cy="20" rx="5" ry="5"/>',
        '<ellipse label="car" cx="20" cy="20" rx="10" ry="5" rotation="90"/>',
        '<tag label="good_frame" source="manual"/>',
    )
    assert [(box.shape, box.points) for box in boxes] == [
        ("box", ()),
        ("line", (1, 2, 11, 22)),
        ("polyline", (1, 2, 11, 22, 5, 30)),
        ("point", (1, 2)),
        ("point", (11, 22)),
        ("circle", (20, 20, 5)),
        ("box", ()),
        ("image", ()),
    ]
    assert boxes[0].segmentation == [[1, 2, 11, 2, 11, 22]]
    assert (boxes[6].x, boxes[6].y, boxes[6].width, boxes[6].height) == pytest.approx((15, 10, 10, 20))
    assert [(note.place, note.what) for note in notes] == [("annotations.xml#image[0]/points[0]", "mended")]


def test_a_turned_box_is_the_outline_of_its_corners(folder: Path, make_picture: MakePicture, write: Write) -> None:
    ((box,), _) = _read_one(folder, make_picture, write, '<box label="car" xtl="10" ytl="20" xbr="30" ybr="30" rotation="90"/>')
    assert (box.x, box.y, box.width, box.height) == pytest.approx((15, 15, 10, 20))
    assert box.segmentation is not None
    assert box.segmentation[0] == pytest.approx([25, 15, 25, 35, 15, 35, 15, 15])
    assert box.attributes == {"rotation": 90}


def test_the_mask_of_the_documentation(folder: Path, make_picture: MakePicture, write: Write) -> None:
    rle = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
    runs = list(map(int, rle.split(", ")))
    height = sum(runs) // 13
    shape = f'<mask label="car" source="manual" occluded="0" rle="{rle}" left="7" top="8" width="13" height="{height}"/>'
    ((box,), notes) = _read_one(folder, make_picture, write, shape)
    assert notes == []
    assert isinstance(box.segmentation, dict)
    rows, bounds = rows_of(box.segmentation)
    assert (bounds, rows.count(1)) == ((7, 8, 13, height), sum(runs[1::2]))
    assert (box.x, box.y, box.width, box.height) == (7, 8, 13, height)


def test_polygons_of_a_group_are_parts_of_one_object(folder: Path, make_picture: MakePicture, write: Write) -> None:
    parts = [f'<polygon label="car" group_id="3" points="{x},2;{x + 5},2;{x},9"/>' for x in (1, 20)]
    ((box,), _) = _read_one(folder, make_picture, write, *parts)
    assert (box.x, box.width, len(box.segmentation or ())) == (1, 24, 2)


@pytest.mark.parametrize(
    "shape",
    [
        '<box label="" xtl="1" ytl="1" xbr="2" ybr="2"/>',
        '<box xtl="1" ytl="1" xbr="2" ybr="2"/>',
        '<box label="car" xtl="nan" ytl="1" xbr="2" ybr="2"/>',
        '<box label="car" xtl="1" ytl="1" xbr="1e300" ybr="2"/>',
        '<box label="car" xtl="1" ytl="1" xbr="2"/>',
        '<box label="car" xtl="1" ytl="1" xbr="2" ybr="2" rotation="inf"/>',
        '<polygon label="car" points="1,2;3"/>',
        '<polygon label="car" points="1,2;3,4"/>',
        '<polygon label="car"/>',
        '<polyline label="car" points="1,2"/>',
        '<ellipse label="car" cx="1" cy="2" rx="0" ry="3"/>',
        '<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="-1, 5" left="0" top="0" width="2" height="2"/>',
        '<mask label="car" rle="4" left="99" top="0" width="2" height="2"/>',
        '<mask label="car" rle="4000000000000" left="0" top="0" width="2000000" height="2000000"/>',
        '<skeleton label="car"><points label="1" points="1,2"/></skeleton>',
        '<cuboid label="car" xtl1="1"/>',
    ],
)
def test_a_broken_or_unknown_shape_is_named_and_the_others_are_kept(
    folder: Path, make_picture: MakePicture, write: Write, shape: str
) -> None:
    boxes, notes = _read_one(folder, make_picture, write, shape, BOX)
    assert len(boxes) == 1
    assert [note.what for note in notes] == ["box"]
    assert notes[0].place.startswith("annotations.xml#image[0]/")


def test_labels_give_the_classes_with_their_colours(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("annotations.xml", document(image("a.jpg", BOX)))
    (names,) = [item for item in CvatFormat().read(folder) if isinstance(item, ClassNames)]
    assert (names.names, names.attributes["car"]) == (("car", "plate"), {"color": "#ff00aa"})


def test_images_that_are_not_there_or_twice_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    names = ("a.jpg", "a.jpg", "gone.jpg", "", "../../etc/passwd", "/etc/passwd")
    write("annotations.xml", document(*(image(name, BOX) for name in names), image("a.jpg", width="nan")))
    found = list(CvatFormat().read(folder))
    assert len(images(found)) == 1
    assert [skip.place for skip in skips(found)] == [f"annotations.xml#image[{number}]" for number in range(1, 7)]


def test_images_without_shapes_are_counted_and_tracks_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("annotations.xml", document(image("a.jpg"), '<track id="0" label="car"><box frame="0"/></track>'))
    found = list(CvatFormat().read(folder))
    assert [item.annotations for item in images(found)] == [(), None]
    assert [(skip.place, skip.what) for skip in skips(found)] == [("annotations.xml#track[0]", "box"), ("annotations.xml", "mended")]


@pytest.mark.parametrize(
    "content",
    [
        document(image("a.jpg", BOX))[:-30],
        document(image("a.jpg", BOX)).replace("<annotations>", '<!DOCTYPE a [<!ENTITY x "y">]><annotations>', 1).replace("Car", "&x;", 1),
        '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotations><version>&f;</version></annotations>',
        "<annotations><meta>" + "<a>" * 5000,
    ],
)
def test_a_file_that_breaks_or_defines_entities_keeps_what_came_before_and_leaves_the_rest_out(
    folder: Path, make_picture: MakePicture, write: Write, content: str
) -> None:
    make_picture("a.jpg")
    make_picture("z.jpg")
    write("annotations.xml", content)
    found = list(CvatFormat().read(folder))
    assert all(item.name == "a.jpg" for item in images(found))
    assert ("annotations.xml", "file") in [(skip.place, skip.what) for skip in skips(found)]
    assert "z.jpg" in [skip.place for skip in skips(found)]


def test_a_large_file_is_read_one_image_at_a_time(
    folder: Path, make_picture: MakePicture, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.formats.cvat._LARGEST_IMAGE_BYTES", 200_000)
    make_picture("a.jpg")
    make_picture("z.jpg")
    write("annotations.xml", document(*(image(f"gone{number}.jpg", BOX * 50) for number in range(60)), image("a.jpg", BOX)))
    found = list(CvatFormat().read(folder))
    assert [item.annotations is None for item in images(found)] == [False, True]
    write("annotations.xml", document(image("a.jpg", BOX * 5000)))
    assert "more than 200,000 bytes" in skips(list(CvatFormat().read(folder)))[0].reason


def test_turned_boxes_and_ellipses_read_back(tmp_path: Path, folder: Path, make_picture: MakePicture, write: Write) -> None:
    shapes = (
        '<box label="car" xtl="10" ytl="5" xbr="30" ybr="15" rotation="30"/>',
        '<ellipse label="car" cx="20" cy="20" rx="10" ry="5" rotation="15"/>',
    )
    boxes, _ = _read_one(folder, make_picture, write, *shapes)
    sample = make_sample(tmp_path, 1, boxes, split="train")
    assert write_samples(CvatFormat(), tmp_path / "out", [sample]) == []
    text = (tmp_path / "out" / "annotations.xml").read_text()
    assert ("<box" in text, "<ellipse" in text, "<polygon" in text) == (True, True, False)
    read = read_back(CvatFormat(), tmp_path / "out")[0][sample.asset.id].annotations or ()
    same([_without_attributes(box) for box in boxes], [_without_attributes(box) for box in read], 1e-9)
    assert read[0].attributes["rotation"] == pytest.approx(30)


def _without_attributes(box: Annotation) -> Annotation:
    return Annotation(**{**vars(box), "attributes": {}})


def test_what_cvat_cannot_hold_is_said(tmp_path: Path) -> None:
    dashed = Annotation("car", 1.0, 1.0, 5.0, 5.0, shape="dashed", points=(1.0, 1.0, 6.0, 6.0), attributes={"n": 3})
    scored = Annotation("car", 1.0, 1.0, 5.0, 5.0, difficult=True, annotated_by="first@best", segmentation=[[1.0, 1.0, 3.0, 1.0, 3.0, 3.0]])
    warnings = write_samples(CvatFormat(), tmp_path / "out", [make_sample(tmp_path, 1, [dashed, scored])])
    assert [warning.code for warning in warnings] == [
        "export_annotated_by", "export_bounds", "export_dashed", "export_difficult", "export_types",
    ]  # fmt: skip

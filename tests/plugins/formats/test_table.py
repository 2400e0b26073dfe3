"""Plain CSV: headers of all kinds, and what is broken in the rows."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.dataset import Annotation
from plugins.formats.images import ImagesFormat
from plugins.formats.table import TableFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import make_sample, read_back, same
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


class TestTableFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> TableFormat:
        return TableFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for name in "ab":
            make_picture(f"{name}.jpg")
        write("labels.csv", "image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,11,22,Cat\nb.jpg,1,2,11,22,Dog\n")
        return folder


@pytest.mark.parametrize(
    "text",
    [
        "image,xmin,ymin,xmax,ymax,class\na.jpg,1,2,11,22,Cat\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,cat,1,2,11,22\n",
        "file;x;y;width;height;label\na.jpg;1;2;10;20;cat\n",
        "\ufeffImage Path\tX1\tY1\tX2\tY2\tClass Name\nsome\\folder\\a.jpg\t1.0\t2\t11\t22\t CAT \n",
        "label|bbox_x|bbox_y|bbox_width|bbox_height|img\r\ncat|1|2|10|20|a\r\n",
        '"file_name","left","top","right","bottom","category"\n"./a.jpg","1","2","11","22","cat"\n',
    ],
)
def test_headers_of_all_kinds_are_understood(folder: Path, make_picture: MakePicture, write: Write, text: str) -> None:
    make_picture("a.jpg")
    write("table.csv", text)
    assert TableFormat().detect(folder).startswith("1 CSV files of boxes")
    found = list(TableFormat().read(folder))
    assert (skips(found), images(found)[0].annotations) == ([], (Annotation("cat", 1, 2, 10, 20),))


def test_the_size_beside_corners_is_that_of_the_picture(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("t.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,640,480,cat,1,2,11,22\n")
    assert images(list(TableFormat().read(folder)))[0].declared_size == (640, 480)


def test_rows_without_boxes_are_labels_of_pictures_and_splits_are_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in "abc":
        make_picture(f"{name}.jpg")
    write("t.csv", "filename,label,usage\na.jpg,cat,TRAIN\na.jpg,dog,\nb.jpg,cat,EVAL\nc.jpg,,test\n")
    assert TableFormat().detect(folder) == "1 CSV files of labels of pictures, such as t.csv"
    found = {image.name: image for image in images(list(TableFormat().read(folder)))}
    assert {name: ([box.class_name for box in image.annotations or ()], image.splits) for name, image in found.items()} == {
        "a.jpg": (["cat", "dog"], ("train",)),
        "b.jpg": (["cat"], ("val",)),
        "c.jpg": ([], ("test",)),
    }
    assert all(box.shape == "image" for image in found.values() for box in image.annotations or ())


def test_rows_with_a_score_are_predictions_and_splits_come_from_file_names(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("val.csv", "image,x,y,w,h,class,score\na.jpg,1,2,3,4,cat,\na.jpg,1,2,3,4,cat,0.5\n")
    (image,) = images(list(TableFormat().read(folder)))
    assert (image.splits, image.annotations, [box.score for box in image.predictions or ()]) == (
        ("val",),
        (Annotation("cat", 1, 2, 3, 4),),
        [0.5],
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.jpg,1,2,nan,4,cat,", "xmax is not a number"),
        ("a.jpg,1,2,1e999,4,cat,", "xmax is out of all bounds"),
        ("a.jpg,1,2,,4,cat,", "xmax is missing"),
        ("a.jpg,1,2,3,4,,", "class name is missing"),
        ("a.jpg,1,2,3,4,cat,7", "score 7 is not between 0 and 1"),
        (",1,2,3,4,cat,", "names no picture"),
        ("a.jpg,1,2,3", "class name is missing"),
        ('a.jpg,1,2,3,4,"c\nat\x07",', "class name is not usable"),
        ("a.jpg," + "9" * 200_000, "too long"),
    ],
)
def test_a_broken_row_is_named_with_its_line_and_the_others_are_kept(
    folder: Path, make_picture: MakePicture, write: Write, row: str, reason: str
) -> None:
    make_picture("a.jpg")
    write("t.csv", f"image,xmin,ymin,xmax,ymax,class,score\na.jpg,1,2,11,22,cat,\n{row}\na.jpg,5,2,11,22,cat,\n")
    found = list(TableFormat().read(folder))
    (skip,) = skips(found)
    assert (skip.place, skip.what) == (f"t.csv:{4 if chr(10) in row else 3}", "box")
    assert reason in skip.reason
    assert len(images(found)[0].annotations or ()) == 2


def test_lines_of_ten_megabytes_and_open_quotes_cost_no_other_file(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    head = "image,xmin,ymin,xmax,ymax,class\n"
    write("long.csv", head + "x" * 10_000_000 + "\na.jpg,1,2,11,22,cat\n" + '"' + "y" * 10_000_000 + "\n")
    write("open.csv", head + 'b.jpg,1,2,11,22,cat\n"b.jpg,' + "1,2,3\n" * 50_000)
    found = list(TableFormat().read(folder))
    assert [len(image.annotations or ()) for image in images(found)] == [1, 1]
    assert {skip.place.split(":")[0] for skip in skips(found)} == {"long.csv", "open.csv"}


def test_pictures_that_are_not_there_are_named_once_for_all_their_rows(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    rows = "gone.jpg,1,2,3,4,cat\n" * 3 + "../../etc/passwd,1,2,3,4,cat\n" + "/etc/hostname,1,2,3,4,cat\n" + "a\0.jpg,1,2,3,4,cat\n"
    write("t.csv", "image,xmin,ymin,xmax,ymax,class\n" + rows + "a.jpg,1,2,11,22,cat\n")
    found = list(TableFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert "there is no picture gone.jpg (3 rows)" in [skip.reason for skip in skips(found)]
    assert len(skips(found)) == 4


def test_gbk_is_read(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("检测目标.jpg")
    write("t.csv", "image,label\n检测目标.jpg,检测目标\n".encode("gbk"))
    (image,) = images(list(TableFormat().read(folder)))
    assert [box.class_name for box in image.annotations or ()] == ["检测目标"]


def test_the_same_picture_in_two_files_and_two_splits_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.csv", "image,label,split\na.jpg,cat,train\na.jpg,dog,val\n")
    write("b.csv", "image,label\na.jpg,cat\n")
    found = list(TableFormat().read(folder))
    assert [skip.place for skip in skips(found)] == ["a.csv:3", "b.csv:2"]


def test_other_tables_are_not_recognised(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.csv", "a.jpg,1,2,3,4,cat\n")
    write("b.csv", "name,age\nada,7\n")
    assert TableFormat().detect(folder) == ""
    assert ImagesFormat().detect(folder)


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2+3", "@sum(a1)", "=cmd|'/c calc'!a0"])
def test_no_cell_is_one_that_a_spreadsheet_would_run(tmp_path: Path, name: str) -> None:
    box = Annotation(name, -1.5, 2.0, 3.0, 4.0)
    sample = make_sample(tmp_path, 1, [box], name=f"{name.replace('/', '')}.png")
    assert write_samples(TableFormat(), tmp_path / "out", [sample]) == []
    with (tmp_path / "out" / "annotations.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]
    same([box], read_back(TableFormat(), tmp_path / "out")[0][sample.asset.id].annotations)

"""ARK text: rows of whole pixels, found through indexes or beside the pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Marks
from contracts.seams import ClassNames, Export
from plugins.formats.ark import ArkFormat
from plugins.formats.yolo import YoloFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats import exports
from tests.plugins.formats.exports import by_name, make_sample, mask, plain, round_trip

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


class TestArkFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> ArkFormat:
        return ArkFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for number in (1, 2, 3):
            make_picture(f"assets/{number}.jpg")
        write("annotations/1.txt", "0, 10, 20, 30, 50, -1.0, 0.0\n")
        write("annotations/2.txt", "")
        write("train-index.tsv", "/in/assets/1.jpg\t/in/annotations/1.txt\n/in/assets/2.jpg\t/in/annotations/2.txt\n")
        write("class_names.txt", "cat\ndog\n")
        return folder


@pytest.mark.parametrize("row", ["1, 10, 20, 30, 50", "1,10,20,30,50,0.5", "1, 10, 20, 30, 50, 0.5, 1.5"])
def test_rows_may_have_five_to_seven_columns(folder: Path, make_picture: MakePicture, write: Write, row: str) -> None:
    make_picture("a.jpg")
    write("a.txt", row)
    write("classes.txt", "cat\nDog\n")
    assert ArkFormat().detect(folder)
    assert YoloFormat().detect(folder) == ""
    found = list(ArkFormat().read(folder))
    (box,) = images(found)[0].annotations or ()
    columns = row.count(",") + 1
    assert box == Annotation("dog", 10, 20, 21, 31, quality=0.5 if columns > 5 else -1.0, angle=1.5 if columns > 6 else 0.0)
    assert [item.names for item in found if isinstance(item, ClassNames)] == [("cat", "dog")]


def test_the_input_folder_of_a_job_reads_as_it_is(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in ("ab/1", "cd/2", "ef/3"):
        make_picture(f"assets/{name}.jpg")
    write("annotations/ab/1.txt", "0, 1, 1, 5, 5, -1.0, 0.0\n")
    write("annotations/cd/2.txt", "")
    write("train-index.tsv", "/in/assets/ab/1.jpg\t/in/annotations/ab/1.txt\n")
    write("val-index.tsv", "/in/assets/cd/2.jpg\t/in/annotations/cd/2.txt\n")
    write("candidate-index.tsv", "/in/assets/ef/3.jpg\n")
    write("config.yaml", "class_names: [person, cat]\nexport_format: ark:raw\n")
    read = {image.name: (image.splits, plain(image.annotations)) for image in images(ArkFormat().read(folder))}
    assert read == {
        "assets/ab/1.jpg": (("train",), [Annotation("person", 1, 1, 5, 5)]),
        "assets/cd/2.jpg": (("val",), []),
        "assets/ef/3.jpg": (("pool",), None),
    }


def test_without_names_the_indexes_are_the_names_and_the_report_says_so(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("a.txt", "10, 1, 1, 5, 5\n2, 1, 1, 9, 9\n")
    found = list(ArkFormat().read(folder))
    assert [item.names for item in found if isinstance(item, ClassNames)] == [("2", "10")]
    assert [skip.what for skip in skips(found)] == ["mended"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0, 1, 2, 3", "a row has 4 columns"),
        ("7, 1, 1, 5, 5", "there is no class 7; there are 1 class names"),
        ("0.5, 1, 1, 5, 5", "class_index is no whole number"),
        ("-1, 1, 1, 5, 5", "class_index is no whole number"),
        ("0, 1, NaN, 5, 5", "ymin is not a number"),
        ("0, 1, 1, 5, 5, inf, 0", "box_quality is not a number"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder: Path, make_picture: MakePicture, write: Write, row: str, reason: str) -> None:
    make_picture("a.jpg")
    write("a.txt", f"0, 1, 1, 5, 5\n{row}\n")
    write("class_names.txt", "cat")
    found = list(ArkFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert [skip.place for skip in skips(found)] == ["a.txt:2"]
    assert reason in skips(found)[0].reason


def test_a_picture_is_not_given_the_text_of_another_of_its_name(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a/1.jpg")
    make_picture("b/1.jpg")
    write("b/1.txt", "0, 1, 1, 5, 5\n")
    read = {image.name: image.annotations for image in images(ArkFormat().read(folder))}
    assert read["a/1.jpg"] is None
    assert read["b/1.jpg"]


def test_a_row_whose_files_are_not_there_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("a.jpg")
    write("train-index.tsv", "a.jpg\tlabels/missing.txt\nmissing.jpg\tx.txt\n")
    found = list(ArkFormat().read(folder))
    assert images(found) == []
    assert [skip.place for skip in skips(found)] == ["train-index.tsv:2", "a.jpg"]


@settings(max_examples=40)
@given(
    drawn=st.lists(
        st.lists(exports.boxes(whole=True, quality=st.floats(0, 1), angle=st.floats(-3, 3)), max_size=4).map(tuple), min_size=1, max_size=3
    )
)
def test_what_is_written_reads_back_equal(drawn: list[tuple[Annotation, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    aside = tmp_path_factory.mktemp("samples")
    splits = ("train", "val", "pool")
    written = [make_sample(aside, number, annotations=boxes, split=splits[number]) for number, boxes in enumerate(drawn)]
    found, warnings, named = round_trip(ArkFormat(), written)
    assert (warnings, skips(found)) == ([], [])
    for sample in named:
        image = by_name(found)[sample.name]
        assert (plain(image.annotations), image.splits) == (list(sample.annotations), (sample.split,))
    assert [item.names for item in found if isinstance(item, ClassNames)] == [exports.CLASSES]


def test_what_ark_text_cannot_hold_is_said(tmp_path: Path) -> None:
    drawn: tuple[Any, ...] = (
        Annotation("cat", 0, 0, 0, 0, shape="image"),
        Annotation("emu", 1, 1, 5, 5),
        Annotation("cat", 1.5, 1, 5, 5, segmentation=mask((2, 2, 12, 10))),
    )
    samples = [
        make_sample(tmp_path, 1, annotations=drawn, split="fold", marks=Marks(tags={"a": "b"})),
        make_sample(tmp_path, 2, marks=Marks(state="unlabeled")),
    ]
    target = tmp_path / "target"
    target.mkdir()
    warnings = ArkFormat().write(target, samples, Export("cells", "V001", ("cat",)))
    assert [warning.code for warning in warnings] == ["marks", "shapes", "classes", "whole_pixels", "attributes", "splits"]
    assert [plain(image.annotations) for image in images(ArkFormat().read(target))] == [[Annotation("cat", 2, 1, 5, 5)], None]

"""The mistakes in the BCCD set, counted here by other code than ours, and what the report of its import says of them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest
from PIL import Image

from plugins.stores.local import LocalStore
from registry.database import Database
from runner.datasets import import_dataset
from tests.runner.datasets.conftest import FORMATS


@dataclass(frozen=True)
class Box:
    """One box of an XML file: corners as they stand there, which are inclusive pixels counted from 1."""

    place: str
    class_name: str
    corners: tuple[int, int, int, int]
    size: tuple[int, int]

    @property
    def beyond_px(self) -> int:
        """How far the last pixel inside lies beyond the last pixel of the picture when pixels are counted from 0; or before the first."""
        x1, y1, x2, y2 = self.corners
        return max(x2 + 1 - self.size[0], y2 + 1 - self.size[1], -x1, -y1)

    @property
    def is_degenerate(self) -> bool:
        x1, y1, x2, y2 = self.corners
        return x2 <= x1 or y2 <= y1


@pytest.fixture(scope="module")
def folder() -> Path:
    path = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bccd" / "BCCD"
    if not path.is_dir():
        pytest.skip("the BCCD set is not there")
    return path


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    with Database.open(home / "sluice.db") as database:
        return import_dataset("bccd", folder, formats=FORMATS, store=LocalStore(home / "assets"), database=database, home=home)


@pytest.fixture(scope="module")
def boxes(folder: Path) -> list[Box]:
    return [box for file in sorted((folder / "Annotations").glob("*.xml")) for box in _boxes(folder, file)]


def _boxes(folder: Path, file: Path) -> Iterator[Box]:
    with Image.open(folder / "JPEGImages" / f"{file.stem}.jpg") as picture:
        size = picture.size
    for number, element in enumerate(minidom.parse(str(file)).getElementsByTagName("object"), start=1):
        corners = tuple(int(_text(element, tag)) for tag in ("xmin", "ymin", "xmax", "ymax"))
        assert len(corners) == 4
        yield Box(f"JPEGImages/{file.stem}.jpg#box {number}", _text(element, "name").lower(), corners, size)


def _text(element: Any, tag: str) -> str:
    return "".join(node.data for node in element.getElementsByTagName(tag)[0].childNodes).strip()


def test_boxes_without_area_are_those_it_left_out(report: dict[str, Any], boxes: list[Box]) -> None:
    degenerate = [box.place for box in boxes if box.is_degenerate]
    assert len(degenerate) == 2
    assert [skip["place"] for skip in report["skipped"] if "has no area" in skip["reason"]] == degenerate


def test_boxes_that_are_there_twice_are_named(report: dict[str, Any], boxes: list[Box]) -> None:
    again = Counter((box.place.partition("#")[0], box.class_name, box.corners) for box in boxes if not box.is_degenerate)
    assert sum(count - 1 for count in again.values()) == sum("is there twice" in skip["reason"] for skip in report["skipped"])


def test_boxes_beyond_the_picture_are_counted_or_named(report: dict[str, Any], boxes: list[Box]) -> None:
    beyond = [box.beyond_px for box in boxes if not box.is_degenerate and box.beyond_px > 0]
    said = [re.match(r"(\d+) boxes reached at most one pixel beyond", note["reason"]) for note in report["mended"]]
    assert [int(match[1]) for match in said if match] == [beyond.count(1)]
    assert sum("left the picture" in note["reason"] for note in report["mended"]) == sum(px > 1 for px in beyond)


def test_every_other_box_is_in_the_version(report: dict[str, Any], boxes: list[Box]) -> None:
    left_out = sum(skip["what"] == "box" for skip in report["skipped"])
    assert report["annotations"] == len(boxes) - left_out
    counts = Counter(box.class_name for box in boxes)
    for skip in report["skipped"]:
        counts[next(box.class_name for box in boxes if box.place == skip["place"])] -= 1
    assert report["classes"] == dict(counts)


def test_files_that_miss_the_other_are_named(report: dict[str, Any], folder: Path) -> None:
    pictures = {file.stem for file in (folder / "JPEGImages").iterdir()}
    labels = {file.stem for file in (folder / "Annotations").iterdir()}
    assert sum("there is no picture" in skip["reason"] for skip in report["skipped"]) == len(labels - pictures)
    assert report["unlabeled"] == len(pictures - labels)


def test_names_in_the_split_lists_that_no_picture_has_are_named(report: dict[str, Any], folder: Path) -> None:
    pictures = {file.stem for file in (folder / "JPEGImages").iterdir()}
    listed = {part: (folder / "ImageSets" / "Main" / f"{part}.txt").read_text().split() for part in ("train", "val", "test")}
    missing = [name for names in listed.values() for name in names if name not in pictures]
    assert sum(skip["place"].startswith("ImageSets") for skip in report["skipped"]) == len(missing)
    assert report["splits"] == {part: len(set(names) & pictures) for part, names in listed.items()}
    twice = [name for name, count in Counter(name for names in listed.values() for name in set(names)).items() if count > 1]
    assert sum("is listed in" in skip["reason"] for skip in report["skipped"]) == len(twice)


def test_labels_that_name_another_picture_or_size_are_named(report: dict[str, Any], folder: Path) -> None:
    other_name, other_size = 0, 0
    for file in (folder / "Annotations").iterdir():
        document = minidom.parse(str(file))
        named = Path(_text(document, "filename")).stem
        other_name += named != file.stem and (folder / "JPEGImages" / f"{named}.jpg").exists()
        with Image.open(folder / "JPEGImages" / f"{file.stem}.jpg") as picture:
            other_size += picture.size != (int(_text(document, "width")), int(_text(document, "height")))
    assert sum("as its picture, but was taken for" in note["reason"] for note in report["mended"]) == other_name
    noted = [
        note
        for note in [*report["mended"], *report["skipped"]]
        if "pixels and leave the picture" in note["reason"] or ", not " in note["reason"]
    ]
    assert len(noted) == other_size


def test_pictures_that_are_there_twice_broken_or_turned_are_named(report: dict[str, Any], folder: Path) -> None:
    files = sorted((folder / "JPEGImages").iterdir())
    contents = Counter(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    broken, turned = 0, 0
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
                turned += picture.getexif().get(274, 1) != 1
        except OSError:
            broken += 1
    reasons = [note["reason"] for note in [*report["skipped"], *report["mended"]]]
    assert sum("is the same picture as" in reason for reason in reasons) == sum(count - 1 for count in contents.values())
    assert sum("is a broken" in reason or "is not a jpg" in reason for reason in reasons) == broken
    assert sum("viewers turn it" in reason for reason in reasons) == turned
    assert report["images"] == len(contents) - broken

"""Label files that are read together with their pictures: the version and the report are those of labels that are all read before."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.seams import Format, Found, ImportedImage, LabelContent, Locate, Skip, UnreadLabel, not_located
from plugins.formats.voc import VocFormat
from runner import intake
from runner.samples import make_digits

RunImport = Callable[..., dict[str, Any]]
_OWN = ("dataset", "folder", "report_file")


class ReadBefore(Format):
    """VOC whose labels are all read before the first picture."""

    name = "voc"

    def detect(self, folder: Path) -> str:
        return VocFormat().detect(folder)

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        return VocFormat().read(folder, locate)


def _cut(label: Path) -> None:
    label.write_bytes(label.read_bytes()[:80])


def _other_root(label: Path) -> None:
    label.write_text("<html><annotation/></html>")


def _replaced(old: str, new: str) -> Callable[[Path], None]:
    return lambda label: Path.write_text(label, label.read_text().replace(old, new))


def _renamed(label: Path) -> None:
    label.rename(label.with_name(f"stray {label.name}"))


def _copied_as_stray(label: Path) -> None:
    """It names a picture that has a label file of its own, and comes before it in the alphabet."""
    shutil.copy(label, label.with_name(f"0 {label.name}"))


def _copied_beside(label: Path) -> None:
    shutil.copy(label, label.parent.parent / label.name)


def _with_mask(label: Path) -> None:
    folder = label.parent.parent / "SegmentationObject"
    folder.mkdir(exist_ok=True)
    (folder / f"{label.stem}.png").write_bytes(b"no picture")


def _broken_picture(label: Path) -> None:
    picture = label.parent.parent / "JPEGImages" / f"{label.stem}.jpg"
    picture.write_bytes(picture.read_bytes()[:200])


def _odd_box(label: Path) -> None:
    text = label.read_text()
    label.write_text(text.replace("<xmin>", "<xmin>x", 1).replace("</annotation>", "<object><name>eight</name></object></annotation>"))


DAMAGES: list[Callable[[Path], None]] = [
    _cut, _other_root, _renamed, _copied_as_stray, _copied_beside, _with_mask, _broken_picture, _odd_box, Path.unlink,
    _replaced("<filename>", "<filename>no such "), _replaced("<filename>", "<filename>JPEGImages/"), _replaced("filename>", "FILE>"),
    _replaced("</annotation>", "<mask_source>nowhere.png</mask_source></annotation>"), _replaced("<width>", "<width>9"),
    _replaced("<annotation>", '<!DOCTYPE annotation [<!ENTITY a "b">]><annotation>'), lambda label: label.write_bytes(b""),
]  # fmt: skip


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Sixty pictures; most have labels with which something is wrong, each kind of damage in many places of the order."""
    folder = make_digits(tmp_path / "digits", train=60, val=0)
    labels = sorted((folder / "Annotations").glob("*.xml"))
    dice = random.Random(4)
    for label in dice.sample(labels, 45):
        dice.choice(DAMAGES)(label)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("nobody\n")
    return folder


@pytest.mark.parametrize("many", [1, intake.MANY], ids=["processes", "threads"])
def test_the_report_and_the_version_are_those_of_labels_read_before(
    damaged: Path, run_import: RunImport, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(intake, "MANY", many)
    monkeypatch.setattr(intake, "_BATCH", 7)
    before = run_import(damaged, name="before", formats={"voc": ReadBefore()})
    late = run_import(damaged, name="late", formats={"voc": VocFormat()})
    assert {k: v for k, v in late.items() if k not in _OWN} == {k: v for k, v in before.items() if k not in _OWN}
    assert len(before["skipped"]) > 15
    assert len({skip["what"] for skip in before["skipped"] + before["mended"]}) == 4


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_told_of_as_before(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = make_digits(tmp_path / "digits", train=5, val=0)
    damage(sorted((folder / "Annotations").glob("*.xml"))[2])
    assert _completed(VocFormat().read_late(folder)) == _by_kind(VocFormat().read(folder))


def test_labels_are_read_late_but_for_those_that_need_more_than_their_name(tmp_path: Path) -> None:
    folder = make_digits(tmp_path / "digits", train=5, val=0)
    first, *others = sorted((folder / "Annotations").glob("*.xml"))
    first.rename(first.with_name("other.xml"))
    images = [item for item in VocFormat().read_late(folder) if isinstance(item, ImportedImage)]
    assert [image.label is None for image in images] == [True, *[False] * len(others)]
    assert all(isinstance(label.plainly(), LabelContent) for image in images if (label := image.label) and label.plainly)


def test_a_picture_whose_label_cannot_be_read_is_not_stored(tmp_path: Path, run_import: RunImport, home: Path) -> None:
    folder = make_digits(tmp_path / "digits", train=5, val=0)
    _cut(sorted((folder / "Annotations").glob("*.xml"))[2])
    assert run_import(folder)["images"] == 4
    assert len(list((home / "assets").rglob("*.jpg"))) == 4


def _by_kind(found: Iterator[Found]) -> tuple[list[ImportedImage], list[Skip]]:
    items = list(found)
    return [item for item in items if isinstance(item, ImportedImage)], [item for item in items if isinstance(item, Skip)]


def _completed(found: Iterator[Found]) -> tuple[list[ImportedImage], list[Skip]]:
    """Every label read, as ``UnreadLabel`` says; the notes in their places."""
    images, told = _by_kind(found)
    whole: list[ImportedImage] = []
    notes: list[tuple[tuple[int, int], Skip]] = [((number, -1), skip) for number, skip in enumerate(told, start=1)]
    for image in images:
        items = _read(image.label) if image.label else [image]
        whole += [item for item in items if isinstance(item, ImportedImage)]
        notes += [(image.label.place, item) for item in items if isinstance(item, Skip) and image.label]
    return whole, [skip for _, skip in sorted(notes, key=lambda note: note[0])]


def _read(label: UnreadLabel) -> list[ImportedImage | Skip]:
    return list(label.fully())

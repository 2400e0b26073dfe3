"""What is written reads back equal, up to the precision that each format states; what it cannot hold is said."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Marks, Sample
from contracts.seams import Format, Skip
from plugins.formats.classes import ClassFoldersFormat, ClassTextFormat
from plugins.formats.coco import CocoFormat
from plugins.formats.cvat import CvatFormat
from plugins.formats.labelstudio import LabelStudioFormat
from plugins.formats.table import TableFormat
from plugins.formats.yolo import YoloFormat
from tests.plugins.formats.samples import (
    SPLITS,
    UNLABELED,
    annotation_lists,
    boxes,
    labels,
    make_sample,
    masks,
    outlines,
    read_back,
    same,
    with_facts,
    write,
)  # fmt: skip

FACTS = {
    "crowd": st.booleans(),
    "difficult": st.booleans(),
    "quality": st.sampled_from([-1.0, 0.25]),
    "angle": st.sampled_from([0.0, 0.5]),
    "annotated_by": st.sampled_from(["", "human", "first@epoch_2"]),
    "attributes": st.sampled_from([{}, {"occluded": True, "colour": "light blue", "n": 3, "deep": [1, {"a": None}]}]),
}
CVAT_FACTS = {
    "annotated_by": st.sampled_from(["", "human", "auto"]),
    "attributes": st.sampled_from([{}, {"occluded": True, "colour": "light <blue>"}, {"z_order": -3, "ok": False}]),
}
SHAPES = st.sampled_from(
    [
        Annotation("cat", 3.0, 4.0, 0.0, 0.0, shape="point", points=(3.0, 4.0)),
        Annotation("cat", 3.5, 4.0, 10.0, 6.0, shape="line", points=(3.5, 4.0, 13.5, 10.0)),
        Annotation("cat", 3.0, 4.0, 10.0, 7.0, shape="polyline", points=(3.0, 4.0, 13.0, 10.0, 5.0, 11.0)),
        Annotation("cat", 5.0, 5.0, 10.0, 10.0, shape="circle", points=(10.0, 10.0, 5.0)),
    ]
)
DRAWN_THERE = SHAPES.filter(lambda shape: "line" not in shape.shape)
KINDS: dict[str, tuple[Format, st.SearchStrategy[Annotation], float]] = {
    "coco": (CocoFormat(), with_facts(boxes() | outlines(3) | masks(), **FACTS), 0.0),
    "yolo boxes": (YoloFormat(), boxes(), 1e-5),
    "yolo outlines": (YoloFormat(), outlines(), 1e-5),
    "csv": (TableFormat(), boxes() | labels(), 0.0),
    "cvat": (CvatFormat(), with_facts(boxes() | outlines(3) | masks() | SHAPES, **CVAT_FACTS) | labels(), 1e-9),
    "label-studio": (LabelStudioFormat(), with_facts(boxes() | outlines() | masks() | labels() | DRAWN_THERE, **FACTS), 1e-6),
    "class-text": (ClassTextFormat(), labels(), 0.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_annotations_and_splits_read_back_equal_and_nothing_is_said_to_be_lost(kind: str) -> None:
    format_, strategy, precision_px = KINDS[kind]

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(st.tuples(annotation_lists(strategy), SPLITS), min_size=1, max_size=4))
    def check(content: list[tuple[list[Annotation], str]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            samples = [make_sample(Path(folder), seed, _apart(kind, boxes_), split=split) for seed, (boxes_, split) in enumerate(content)]
            warnings = write(format_, Path(folder) / "out", samples)
            _check(format_, Path(folder) / "out", samples, precision_px)
            assert warnings == []

    check()


def _apart(kind: str, annotations: list[Annotation]) -> list[Annotation]:
    """Labels of a picture are a set."""
    return list({box.class_name: box for box in annotations}.values()) if kind == "class-text" else annotations


def _check(format_: Format, folder: Path, samples: Sequence[Sample], precision_px: float) -> None:
    images, others = read_back(format_, folder)
    assert [item for item in others if isinstance(item, Skip) and item.what != "mended"] == []
    for sample in samples:
        image = images[sample.asset.id]
        same(sample.annotations, image.annotations, precision_px)
        assert image.splits == ((sample.split,) if sample.split else ())


@pytest.mark.parametrize("kind", [*KINDS, "class-folders"])
def test_a_picture_that_nobody_looked_at_reads_back_unannotated_and_one_that_shows_nothing_does_not(kind: str, tmp_path: Path) -> None:
    format_ = ClassFoldersFormat() if kind == "class-folders" else KINDS[kind][0]
    label = Annotation("cat", 0.0, 0.0, 0.0, 0.0, shape="image")
    box = Annotation("cat", 1.0, 2.0, 3.0, 4.0)
    drawn = label if kind.startswith("class") else box
    samples = [
        make_sample(tmp_path, 1, [drawn], split="train"),
        make_sample(tmp_path, 2, marks=UNLABELED, split="train"),
        make_sample(tmp_path, 3, split="train"),
    ]
    warnings = write(format_, tmp_path / "out", samples)
    images, _ = read_back(format_, tmp_path / "out")
    assert images[samples[1].asset.id].annotations is None
    same(images[samples[0].asset.id].annotations, [drawn], 1e-5)
    if kind == "class-folders":
        assert [warning.code for warning in warnings] == ["export_nothing"]
    else:
        assert images[samples[2].asset.id].annotations == ()


@pytest.mark.parametrize("format_", [CocoFormat(), LabelStudioFormat(), TableFormat()], ids=lambda f: f.name)
def test_predictions_stay_beside_the_annotations(format_: Format, tmp_path: Path) -> None:
    found = [Annotation("cat", 1.0, 2.0, 3.0, 4.0, score=0.75), Annotation("dog", 5.0, 2.0, 3.0, 4.0, score=0.0)]
    samples = [make_sample(tmp_path, 1, [Annotation("cat", 1.5, 2.0, 3.0, 4.0)], predictions=tuple(found), split="val")]
    assert write(format_, tmp_path / "out", samples) == []
    images, _ = read_back(format_, tmp_path / "out")
    image = images[samples[0].asset.id]
    same(image.predictions, found, 1e-6)
    same(_plain(image.annotations), samples[0].annotations, 1e-6)


def _plain(annotations: Sequence[Annotation] | None) -> list[Annotation]:
    return list(annotations or ())


@pytest.mark.parametrize("format_", [YoloFormat(), CvatFormat(), ClassTextFormat(), ClassFoldersFormat()], ids=lambda f: f.name)
def test_predictions_are_written_instead_of_the_annotations_when_they_are_asked_for(format_: Format, tmp_path: Path) -> None:
    shape: dict[str, Any] = {"shape": "image"} if format_.name.startswith("class") else {}
    sides = (0.0, 0.0, 0.0, 0.0) if shape else (1.0, 2.0, 3.0, 4.0)
    sample = make_sample(
        tmp_path, 1, [Annotation("cat", *sides, **shape)], predictions=(Annotation("dog", *sides, score=0.5, **shape),), split="val"
    )
    codes = {warning.code for warning in write(format_, tmp_path / "here", [sample])}
    assert codes == {"export_predictions"}
    assert {warning.code for warning in write(format_, tmp_path / "there", [sample], predictions=True)} == {"export_score"}
    images, _ = read_back(format_, tmp_path / "there")
    assert [box.class_name for box in images[sample.asset.id].annotations or ()] == ["dog"]


@pytest.mark.parametrize("format_", [CocoFormat(), LabelStudioFormat()], ids=lambda f: f.name)
def test_marks_read_back_equal_and_those_of_hard_examples_when_they_are_asked_for(format_: Format, tmp_path: Path) -> None:
    marks = Marks("", True, 0.25, (1, 20), {"weather": "rain"})
    box = Annotation("cat", 1.0, 2.0, 3.0, 4.0)
    samples = [make_sample(tmp_path, 1, [box], marks=marks, split="train")]
    assert write(format_, tmp_path / "hard", samples, hard=True) == []
    assert read_back(format_, tmp_path / "hard")[0][samples[0].asset.id].marks == marks
    assert [warning.code for warning in write(format_, tmp_path / "plain", samples)] == ["export_hard"]
    assert read_back(format_, tmp_path / "plain")[0][samples[0].asset.id].marks == Marks(tags={"weather": "rain"})


@pytest.mark.parametrize("format_", [CocoFormat(), LabelStudioFormat()], ids=lambda f: f.name)
def test_what_is_to_be_confirmed_stays_so(format_: Format, tmp_path: Path) -> None:
    box = Annotation("cat", 1.0, 2.0, 3.0, 4.0, annotated_by="first@epoch_1")
    samples = [make_sample(tmp_path, 1, [box], marks=Marks("to_be_confirmed"), split="train")]
    assert write(format_, tmp_path / "out", samples) == []
    image = read_back(format_, tmp_path / "out")[0][samples[0].asset.id]
    assert (image.marks.state, image.predictions) == ("to_be_confirmed", None)
    same(image.annotations, [box], 1e-6)


@pytest.mark.parametrize("kind", [*KINDS, "class-folders"])
def test_pictures_are_copied_linked_or_left_out(kind: str, tmp_path: Path) -> None:
    format_ = ClassFoldersFormat() if kind == "class-folders" else KINDS[kind][0]
    samples = [make_sample(tmp_path, 1, split="train", marks=UNLABELED)]
    write(format_, tmp_path / "copied", samples)
    write(format_, tmp_path / "linked", samples, link=True)
    write(format_, tmp_path / "none", samples, pictures=False)
    (copied,), (linked,) = (list((tmp_path / name).rglob("*.png")) for name in ("copied", "linked"))
    assert linked.samefile(samples[0].path)
    assert not copied.samefile(samples[0].path)
    assert copied.read_bytes() == samples[0].path.read_bytes()
    assert list((tmp_path / "none").rglob("*.png")) == []


@pytest.mark.parametrize("kind", [*KINDS, "class-folders"])
def test_hostile_names_stay_in_the_folder(kind: str, tmp_path: Path) -> None:
    format_ = ClassFoldersFormat() if kind == "class-folders" else KINDS[kind][0]
    names = [
        "../../escape.png",
        "/etc/passwd",
        "a\0b.png",
        "=cmd|'x'!A1.png",
        "con.png",
        "图片.png",
        "x" * 300,
        ".hidden.png",
        "A.png",
        "a.png",
    ]
    samples = [make_sample(tmp_path, seed, name=name, split="val", marks=UNLABELED) for seed, name in enumerate(names)]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    write(format_, tmp_path / "out", samples)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "out") for path in written)
    assert set(read_back(format_, tmp_path / "out")[0]) == {sample.asset.id for sample in samples}

"""Every folder is recognised by its own format alone; and no change of a file makes a format fail."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation
from contracts.seams import Format, ImportedImage, Skip
from plugins.formats.classes import ClassFoldersFormat, ClassTextFormat
from plugins.formats.coco import CocoFormat
from plugins.formats.cvat import CvatFormat
from plugins.formats.labelstudio import LabelStudioFormat
from plugins.formats.mask_runs import mask_of
from plugins.formats.table import TableFormat
from plugins.formats.voc import VocFormat
from plugins.formats.yolo import YoloFormat
from tests.plugins.formats.samples import HEIGHT, WIDTH, make_sample, write

FORMATS: dict[str, Format] = {
    format_.name: format_
    for format_ in (VocFormat(), CocoFormat(), YoloFormat(), ClassFoldersFormat(), ClassTextFormat(), TableFormat(), CvatFormat())
} | {"label-studio": LabelStudioFormat()}
WRITTEN = [name for name in FORMATS if name != "voc"]
#: What is put into files: broken structure, numbers that are none, words of every type.
PIECES = [
    b"",
    b"null",
    b"[",
    b"]",
    b"{",
    b"}",
    b"<",
    b">",
    b'"',
    b",",
    b"\n",
    b"NaN",
    b"-1e999",
    b"1e400",
    b"9" * 400,
    b"\x00",
    b"\xff\xfe",
    b"../",
    b"true",
]


def _written(name: str, folder: Path, seeds: int = 4) -> Path:
    """A small data set in that format, with an example of everything it can hold."""
    kinds = {
        "class-folders": [[Annotation(label, 0, 0, 0, 0, shape="image")] for label in ("cat", "dog")],
        "class-text": [[Annotation(label, 0, 0, 0, 0, shape="image")] for label in ("cat", "dog")],
        "csv": [[Annotation("cat", 1.5, 2.0, 3.0, 4.0)], [Annotation("dog", 0, 0, 0, 0, shape="image")]],
    }
    outline = Annotation("cat", 1.5, 2.0, 3.0, 4.0, segmentation=[[1.5, 2.0, 4.5, 2.0, 4.5, 6.0]], attributes={"a": "b"})
    mask = Annotation("dog", 2.0, 1.0, 3.0, 2.0, segmentation=mask_of(b"\1\0\1\1\1\1", (2, 1, 3, 2), (WIDTH, HEIGHT)))
    found = (Annotation("cat", 1.5, 2.0, 3.0, 4.0, score=0.5),)
    content = kinds.get(name, [[Annotation("cat", 1.0, 2.0, 3.0, 4.0), outline], [mask]])
    samples = [
        make_sample(
            folder,
            seed,
            content[seed % 2],
            split="train" if seed < 2 else "val",
            predictions=found if name in ("coco", "label-studio") else None,
        )
        for seed in range(seeds)
    ]
    write(FORMATS[name], folder / "out", samples)
    return folder / "out"


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_recognised_by_its_own_format_alone(name: str, tmp_path: Path) -> None:
    folder = _written(name, tmp_path)
    assert [other for other, format_ in FORMATS.items() if format_.detect(folder)] == [name]


@pytest.mark.parametrize("name", WRITTEN)
def test_no_change_of_its_files_makes_a_format_fail_or_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """Whatever is read has a place inside the folder, and whatever is left out has a reason."""
    folder = _written(name, tmp_path)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png") or sorted(folder.rglob("*.png"))
    originals = {path: path.read_bytes() for path in files}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(files))
        content = originals[path]
        for _ in range(data.draw(st.integers(1, 3))):
            start = data.draw(st.integers(0, len(content)))
            end = min(len(content), start + data.draw(st.sampled_from([0, 1, 3, 20, 10**6])))
            content = content[:start] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + content[end:]
        path.write_bytes(content)
        try:
            _read_all(FORMATS[name], folder)
        finally:
            path.write_bytes(originals[path])

    check()


def _read_all(format_: Format, folder: Path) -> None:
    format_.detect(folder)
    for item in format_.read(folder):
        if isinstance(item, ImportedImage) and isinstance(item.path, Path):
            assert item.path.resolve().is_relative_to(folder.resolve())
            for box in (*(item.annotations or ()), *(item.predictions or ())):
                assert box.class_name
                assert all(abs(value) < 1e9 for value in (box.x, box.y, box.width, box.height))
                assert box.score is None or 0 <= box.score <= 1
        elif isinstance(item, Skip):
            assert item.place
            assert item.reason
            item.reason.encode("utf-8")
            item.place.encode("utf-8")


def test_temporary_files_are_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON file in another encoding is copied aside while it is read."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    folder = _written("coco", tmp_path)
    for file in folder.rglob("*.json"):
        file.write_bytes(file.read_text().encode("utf-16"))
    assert len([item for item in CocoFormat().read(folder) if isinstance(item, ImportedImage)]) == 4
    assert list((tmp_path / "tmp").iterdir()) == []

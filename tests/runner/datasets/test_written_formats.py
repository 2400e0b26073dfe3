"""The BCCD set, imported, written in each format and imported again, is the same set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation, Sample
from contracts.seams import Export, Format
from plugins.formats.ark import ArkFormat
from plugins.formats.manifest import ManifestFormat
from plugins.formats.voc import VocFormat
from plugins.formats.ymir import YmirFormat
from plugins.stores.local import LocalStore
from runner.dataset_files import read_samples

CLASSES = ("platelets", "rbc", "wbc")


def _boxes(samples: list[Sample]) -> dict[str, list[tuple[Any, ...]]]:
    return {sample.asset.id: sorted(map(_box, sample.annotations)) for sample in samples}


def _box(box: Annotation) -> tuple[Any, ...]:
    return box.class_name, box.x, box.y, box.width, box.height


@pytest.mark.parametrize("format_", [VocFormat(), ManifestFormat(), YmirFormat(), ArkFormat()], ids=lambda format_: format_.name)
def test_the_cells_come_back_as_they_were(
    shared_data: Path, run_import: Callable[..., dict[str, Any]], store: LocalStore, tmp_path: Path, format_: Format
) -> None:
    first = _samples(run_import(_some_of(shared_data, tmp_path)), store)
    target = tmp_path / "target"
    target.mkdir()
    warnings = format_.write(target, sorted(first, key=lambda sample: sample.asset.id), Export("cells", "V001", CLASSES, link=True))
    report = run_import(target, name="again", formats={format_.name: format_})
    again = _samples(report, store)
    assert {warning.code for warning in warnings} == ({"splits"} if format_.name == "ymir" else set())
    assert (report["skipped"], report["mended"]) == ([], [])
    assert list(report["classes"]) == list(CLASSES)
    assert len(first) == 30
    assert _boxes(again) == _boxes(first)
    assert report["splits"] == ({"": 30} if format_.name == "ymir" else {"train": 10, "val": 10, "test": 10})


def _samples(report: dict[str, Any], store: LocalStore) -> list[Sample]:
    """All samples of a version, with their splits."""
    folder = Path(report["folder"])
    return [replace(sample, split=split) for split in report["splits"] for sample in read_samples(folder, store, split)]


def _some_of(shared_data: Path, tmp_path: Path) -> Path:
    """Thirty pictures of the set with their label files and lists."""
    source = tmp_path / "some"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (source / name).mkdir(parents=True)
    pictures = sorted(shared_data.rglob("*.jpg"))[:30]
    for picture in pictures:
        (source / "JPEGImages" / picture.name).write_bytes(picture.read_bytes())
    stems = [picture.stem for picture in pictures]
    for stem in stems:
        (label,) = shared_data.rglob(f"{stem}.xml")
        (source / "Annotations" / label.name).write_bytes(label.read_bytes())
    for number, split in enumerate(("train", "val", "test")):
        (source / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(stems[number * 10 : number * 10 + 10]))
    return source

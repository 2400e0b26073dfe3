"""The BCCD blood-cell set: real pictures, real annotations, real mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from plugins.stores.local import LocalStore
from runner.dataset_files import read_samples


def test_bccd_is_imported_and_what_is_wrong_in_it_is_named(
    shared_data: Path, run_import: Callable[..., dict[str, Any]], store: LocalStore
) -> None:
    report = run_import(shared_data)
    assert (report["format"], report["images"], report["annotations"], report["unlabeled"]) == ("voc", 364, 4886, 0)
    assert report["splits"] == {"train": 205, "val": 87, "test": 72}
    assert report["classes"] == {"platelets": 361, "rbc": 4153, "wbc": 372}
    assert [skip["place"] for skip in report["skipped"]] == [
        "JPEGImages/BloodImage_00338.jpg#box 13",
        "JPEGImages/BloodImage_00343.jpg#box 4",
    ]
    assert [note["reason"][:32] for note in report["mended"]] == ["545 boxes reached at most one pi"]
    samples = read_samples(Path(report["folder"]), store)
    assert sum(len(sample.annotations) for sample in samples) == 4886
    assert all((box.x + box.width, box.y + box.height) <= (640, 480) for sample in samples for box in sample.annotations)

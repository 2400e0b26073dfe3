"""What a model of the source found is kept beside the version, never in it, and can become proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation, Marks
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, PredictedBy, not_located
from registry.database import Database
from registry.predictions import find_prediction
from runner.dataset_files import read_predictions, read_samples
from runner.datasets import import_dataset
from runner.service import Runner
from runner.settings import load_settings


class _Predicted(Format):
    """Pictures with what a model found."""

    name = "predicted"

    def detect(self, folder: Path) -> str:
        return "it is told"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        yield PredictedBy("their-model", {"mAP": 0.5})
        yield ClassNames(("cat", "dog"), {"cat": ("kitty",)}, {"dog": {"color": "#00ff00"}})
        one, other, third = sorted(folder.glob("*.png"))
        box = Annotation("cat", 1, 2, 10, 10)
        yield ImportedImage(
            one, one.name, (box,), predictions=(Annotation("dog", 3, 3, 10, 10, score=0.7),), marks=Marks(hard=True, hard_reasons=(1,))
        )
        yield ImportedImage(other, other.name, None, predictions=())
        yield ImportedImage(third, third.name, None, predictions=(Annotation("cat", 3, 3, 999, 10, score=0.7),))


@pytest.fixture
def pictures(make_picture: Callable[..., Path], source: Path) -> Path:
    for number in range(3):
        make_picture(f"{number}.png", seed=number)
    return source


def test_they_are_kept_apart_and_by_the_names_of_the_dataset(
    run_import: Callable[..., dict[str, Any]], pictures: Path, database: Database, home: Path, store: Any
) -> None:
    report = run_import(pictures, formats={"predicted": _Predicted()})
    assert (report["annotations"], report["hard"], report["states"]) == (1, 1, {"labeled": 1, "unlabeled": 2})
    with database.reading() as session:
        record = find_prediction(session, report["predictions"])
    assert record is not None
    assert (record.model_name, record.dataset, record.number, record.image_count, record.annotation_count) == (
        "their-model",
        "cells",
        1,
        3,
        2,
    )
    found = read_predictions(home / record.file)
    assert sorted((box.class_name, box.score, box.width) for boxes in found.values() for box in boxes) == [
        ("cat", 0.7, 97.0),
        ("dog", 0.7, 10.0),
    ]
    samples = {sample.name: sample for sample in read_samples(home / "datasets" / "cells" / "V001", store)}
    assert samples["0.png"].marks == Marks("labeled", hard=True, hard_reasons=(1,))


def test_an_import_again_keeps_one_record(run_import: Callable[..., dict[str, Any]], pictures: Path, home: Path) -> None:
    formats = {"predicted": _Predicted()}
    first, again = run_import(pictures, formats=formats), run_import(pictures, formats=formats)
    assert again["unchanged"]
    assert len(list((home / "predictions").iterdir())) == 1
    (file,) = (home / "predictions").iterdir()
    file.unlink()
    run_import(pictures, formats=formats)
    assert file.exists()
    assert first["content_hash"] == again["content_hash"]


def test_they_can_become_proposals_and_then_labels(pictures: Path, tmp_path: Path) -> None:
    with Runner.open(load_settings({"home": str(tmp_path / "whole"), "engine": "process"})) as runner:
        parts = runner._installation
        report = import_dataset(
            "pets", pictures, formats={"predicted": _Predicted()}, store=parts.store, database=parts.database, home=parts.home
        )
        assert runner.list_dataset_classes("pets")[0]["aliases"] == ["kitty"]
        proposed = runner.derive_dataset("pets", {"op": "label-from", "job": f"import-{report['content_hash'][:16]}"})
        assert proposed["states"] == {"labeled": 1, "to_be_confirmed": 2}
        confirmed = runner.derive_dataset("pets", {"op": "confirm", "where": "annotations > 0"})
        assert confirmed["states"] == {"labeled": 2, "to_be_confirmed": 1}
        assert confirmed["classes"] == {"cat": 2}

"""A version written with what a model found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation
from contracts.errors import DatasetError, NotFoundError
from registry.predictions import add_prediction
from runner.dataset_files import read_predictions, read_samples, write_predictions
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import voc_folder


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"}, environ={})
    with Runner.open(settings) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 3, "val": 2, "pool": 1}))
        yield runner


def predict(runner: Runner, job: str, found: dict[str, tuple[Annotation, ...]]) -> str:
    file = runner._installation.home / "predictions" / f"{job}.parquet"
    write_predictions(file, found)
    facts: dict[str, Any] = {"dataset": "pets", "number": 1, "image_count": len(found), "annotation_count": sum(map(len, found.values()))}
    with runner._installation.database.writing() as session:
        add_prediction(session, job_id=job, model_name="first", stage_name="best", file=f"predictions/{job}.parquet", **facts)
    return job


@pytest.fixture
def job(runner: Runner) -> str:
    """Over the pictures of train and pool: a box in the first, none in the last, two in the others."""
    samples = [sample for split in ("train", "pool") for sample in samples_of(runner, "pets", split)]
    boxes = [Annotation("cat", 1, 2, 10, 12, score=0.5), Annotation("kitty", 3, 4, 6, 8, score=0.75)]
    counts = [1, *[2] * (len(samples) - 2), 0]
    return predict(runner, "import-0", {sample.asset.id: tuple(boxes[:count]) for sample, count in zip(samples, counts, strict=True)})


def samples_of(runner: Runner, name: str, split: str | None = None) -> Any:
    return read_samples(Path(runner.get_dataset(name)["folder"]), runner._installation.store, split)


def file_of(runner: Runner, job: str) -> dict[str, tuple[Annotation, ...]]:
    return read_predictions(runner._installation.home / "predictions" / f"{job}.parquet")


def plain(found: dict[str, tuple[Annotation, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    return {asset: [(b.class_name, b.x, b.y, b.width, b.height, b.score) for b in boxes] for asset, boxes in found.items() if boxes}


@pytest.mark.parametrize("format_name", ["coco", "label-studio", "csv", "ymir"])
def test_labels_and_predictions_come_back_from_formats_with_places_for_both(
    runner: Runner, job: str, tmp_path: Path, format_name: str
) -> None:
    report = runner.export_dataset("pets", tmp_path / "out", format=format_name, predictions=job)
    assert (report["predictions"], report["predicted"]) == (job, 4)
    assert "2 of 6 pictures have no predictions: import-0 did not look at them" in [w["message"] for w in report["warnings"]]
    again = runner.import_dataset("again", tmp_path / "out", format=format_name)
    assert again["annotations"] == report["annotations"] == runner.get_dataset("pets")["annotations"]
    assert plain(file_of(runner, again["predictions"])) == plain(file_of(runner, job))


@pytest.mark.parametrize("format_name", ["yolo", "cvat", "voc", "manifest", "ark"])
def test_predictions_take_the_place_of_labels_where_there_is_one(runner: Runner, job: str, tmp_path: Path, format_name: str) -> None:
    runner.export_dataset("pets", tmp_path / "out", format=format_name, predictions=job)
    again = runner.import_dataset("again", tmp_path / "out", format=format_name)
    found = file_of(runner, again["predictions"]) if again.get("predictions") else {}
    if not found:
        found = {sample.asset.id: sample.annotations for sample in samples_of(runner, "again") if sample.annotations}
    assert {asset: [box[0] for box in boxes] for asset, boxes in plain(found).items()} == {
        asset: [box[0] for box in boxes] for asset, boxes in plain(file_of(runner, job)).items()
    }


@pytest.mark.parametrize("format_name", ["yolo", "cvat"])
def test_a_picture_that_no_model_looked_at_is_not_one_that_shows_nothing(
    runner: Runner, job: str, tmp_path: Path, format_name: str
) -> None:
    runner.export_dataset("pets", tmp_path / "out", format=format_name, predictions=job)
    report = runner.import_dataset("again", tmp_path / "out", format=format_name)
    assert report["states"] == {"labeled": 4, "unlabeled": 2}


def test_inference_results_are_predictions_alone(runner: Runner, job: str, tmp_path: Path) -> None:
    runner.export_dataset("pets", tmp_path / "out", format="inference-results", predictions=job)
    report = runner.import_dataset("again", tmp_path / "out", format="inference-results")
    assert (report["annotations"], len(file_of(runner, report["predictions"]))) == (0, 4)


def test_classes_are_called_as_the_version_calls_them(runner: Runner, job: str, tmp_path: Path) -> None:
    runner.set_dataset_class("pets", "cat", aliases=["kitty"])
    runner.derive_dataset("pets", {"op": "rename-class", "old": "cat", "new": "feline"})
    for number, called in ((1, "cat"), (2, "feline")):
        runner.export_dataset(f"pets@V00{number}", tmp_path / called, format="csv", predictions=job)
        again = runner.import_dataset(called, tmp_path / called)
        assert {box.class_name for boxes in file_of(runner, again["predictions"]).values() for box in boxes} == {called}


def test_predictions_over_other_pictures_and_no_predictions_are_refused(runner: Runner, job: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the pictures to be exported is among them") as refused:
        runner.export_dataset("pets:val", tmp_path / "out", format="coco", predictions=job)
    assert "Export pets@V001" in (refused.value.hint or "")
    with pytest.raises(NotFoundError, match="nothing"):
        runner.export_dataset("pets", tmp_path / "out", format="coco", predictions="nothing")
    assert not (tmp_path / "out").exists()
    report = runner.export_dataset("pets", tmp_path / "out", format="coco")
    assert (report["predictions"], report["predicted"]) == ("", 0)

"""What a request means: which of an image's object types a job uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from contracts.errors import DatasetError, ImageError
from contracts.job import JobSpec
from registry import jobs
from runner.dataset_files import read_samples
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process"})) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
        yield runner


def _image(runner: Runner, folder: Path, object_types: str) -> None:
    """The probe for these object types, with a folder of templates for each."""
    shutil.copytree(PROBE, folder)
    for name in ("det", "semantic-seg", "instance-seg"):
        (folder / "img-man" / name).mkdir()
        for template in (folder / "img-man").glob("*-template.yaml"):
            shutil.copy(template, folder / "img-man" / name)
    (folder / "img-man" / "manifest.yaml").write_text(f"object_type: {object_types}\n")
    runner.build_image(folder, name="many")


def _planned_type(runner: Runner, data: str) -> int:
    job = runner.submit(JobSpec(kind="training", image="many", train_data=data))
    with runner._installation.database.reading() as session:
        return int(jobs.get_job(session, job["id"]).plan["object_type"])


def test_an_image_of_many_types_learns_what_the_data_can_teach(runner: Runner, tmp_path: Path) -> None:
    _image(runner, tmp_path / "many", "[3, 2]")
    assert _planned_type(runner, "pets") == 2


def test_an_image_that_needs_outlines_is_refused_data_with_boxes(runner: Runner, tmp_path: Path) -> None:
    _image(runner, tmp_path / "many", "[3, 4]")
    with pytest.raises(ImageError, match="handles semantic segmentation, instance segmentation, which pets@V001 cannot teach"):
        _planned_type(runner, "pets")
    assert runner.list_jobs()["total"] == 0


def test_data_with_outlines_teaches_segmentation_and_boxes(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (number, 9, 9)).save(folder / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png", "width": 20, "height": 20} for number in range(3)]
    outline = {"bbox": [2, 2, 8, 8], "area": 32, "iscrowd": 0, "category_id": 1, "segmentation": [[2, 2, 10, 2, 10, 10]]}
    annotations = [{"id": number + 1, "image_id": number, **outline} for number in range(3)]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "leaf"}]}
    (folder / "instances.json").write_text(json.dumps(document))
    assert runner.import_dataset("leaves", folder)["object_type"] == 4
    _image(runner, tmp_path / "many", "[2, 4]")
    assert _planned_type(runner, "leaves") == 4


# ------------------------------------------------------------------------------------------- what a training never sees


def _given(runner: Runner, folder: Path, **request: str) -> dict[str, set[str]]:
    """The pictures of a planned training, by split."""
    from runner import job_data

    with runner._installation.database.reading() as session:
        train, val = job_data.pin_training(session, request["train"], request.get("val"))
    found = job_data.read_training(runner._installation, train, val, 0.5, 0)
    return dict(zip(("train", "val"), ({sample.split for sample in samples} for samples in found), strict=True))


def test_the_test_split_never_reaches_a_training_image(runner: Runner, tmp_path: Path) -> None:
    runner.import_dataset("held", voc_folder(tmp_path / "held", {"test": 4, "pool": 8}))
    for request in ({"train": "held"}, {"train": "pets", "val": "held"}, {"train": "held:pool"}):
        given = _given(runner, tmp_path, **request)
        assert "test" not in given["train"] | given["val"]
    for request in ({"train": "held:test"}, {"train": "pets", "val": "held:test"}):
        with pytest.raises(DatasetError, match=r"held@V001:test is kept for a last measurement"):
            _given(runner, tmp_path, **request)


def test_classes_may_be_named_as_they_are_called_now_or_were_then(runner: Runner, tmp_path: Path) -> None:
    _image(runner, tmp_path / "many", "[2]")
    (name, *_) = runner.get_dataset("pets")["classes"]
    runner.derive_dataset("pets", {"op": "rename-class", "old": name, "new": "renamed"})

    def planned(data: str, wanted: str) -> list[str]:
        job = runner.submit(JobSpec(kind="training", image="many", train_data=data, class_names=(wanted,)))
        with runner._installation.database.reading() as session:
            return list(jobs.get_job(session, job["id"]).plan["class_names"])

    assert planned("pets", name) == planned("pets", "renamed") == ["renamed"]
    assert planned("pets@V001", name) == planned("pets@V001", "renamed") == [name]
    with pytest.raises(DatasetError, match="has no class 'wolf'"):
        planned("pets", "wolf")


def test_it_is_said_how_many_pictures_are_not_labelled(runner: Runner, tmp_path: Path) -> None:
    _image(runner, tmp_path / "many", "[2]")
    runner.derive_dataset("pets", {"op": "unlabel", "assets": [_first_of(runner, "train")]})
    warnings = {w["code"]: w["message"] for w in runner.submit(JobSpec(kind="training", image="many", train_data="pets"))["warnings"]}
    assert warnings["unlabelled_left_out"] == "1 of 6 images are not labelled and are left out"
    again = runner.submit(JobSpec(kind="training", image="many", train_data="pets@V001"))
    assert "unlabelled_left_out" not in {w["code"] for w in again["warnings"]}


def _first_of(runner: Runner, split: str) -> str:
    folder = Path(runner.get_dataset("pets")["folder"])
    return next(s.asset.id for s in read_samples(folder, runner._installation.store, split))

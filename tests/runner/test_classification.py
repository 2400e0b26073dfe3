"""Classification end to end: labelled pictures in, a model, its labels, how good they are, and what to label next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from contracts.errors import DatasetError, ImageError, LinkError, RequestError
from contracts.job import JobSpec
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder
from tests.images.image_jobs import IMAGES

LABELS = IMAGES.parent / "tests" / "images" / "labels"
LIGHT = {"dark": 30, "light": 220}


def class_folders(folder: Path) -> Path:
    """Eight pictures of each class to learn from, four to measure on, and three in between that nobody labelled."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, level in LIGHT.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(level, 9, (12, 16)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    (folder / "pool").mkdir()
    for level in (40, 120, 200):
        Image.fromarray(np.full((12, 16), level, np.uint8)).save(folder / "pool" / f"{level}.png")
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    work = tmp_path_factory.mktemp("classification")
    settings = load_settings({"home": str(work / "home"), "engine": "process", "poll_interval_s": "0.1", "stop_grace_s": "2"})
    with Runner.open(settings) as runner:
        runner.import_dataset("light", class_folders(work / "light"), format="class-folders")
        runner.import_dataset("pets", voc_folder(work / "pets", {"train": 4, "val": 2}))
        for name, folder in (("labels", LABELS), ("probe", PROBE)):
            runner.build_image(folder, name=name)
            runner.link_images(name, name)
        run(runner, kind="training", image="labels", train_data="light", name="first")
        yield runner


def run(runner: Runner, **spec: Any) -> dict[str, Any]:
    *_, last = runner.watch(runner.submit(JobSpec(**spec))["id"])
    assert last["state"] == "succeeded", last["evidence"]
    return dict(last)


def test_a_training_on_labels_leaves_a_model_of_classification(runner: Runner) -> None:
    model = runner.get_model("first")
    assert (model["object_type"], model["class_names"], model["best_stage"]) == (1, ["dark", "light"], "last")
    assert model["stages"][0]["metrics"] == {"top1": 1.0}


def test_its_package_is_of_classification_and_comes_back_as_it_was(runner: Runner, tmp_path: Path) -> None:
    runner.export_model("first", tmp_path / "first.tar.gz")
    again = runner.import_model("again", tmp_path / "first.tar.gz")
    assert (again["object_type"], again["stages"][0]["metrics"]) == (1, {"top1": 1.0})


@pytest.mark.parametrize("form", ["ours", "modelarts"])
def test_labels_become_predictions_of_whole_pictures_without_a_tolerance(runner: Runner, form: str) -> None:
    job = run(runner, kind="inference", model="first", data="light:val", parameters={"form": form})
    assert job["warnings"] == []
    assert (job["result"]["images_with_labels"], job["result"]["labels"]) == (8, {"dark": 4, "light": 4})
    assert (job["result"]["boxes"], job["result"]["images_with_boxes"]) == (0, 0)
    rows = pq.read_table(job["result"]["predictions_file"]).to_pylist()
    assert {(row["shape"], row["x"], row["y"], row["width"], row["height"]) for row in rows} == {("image", 0.0, 0.0, 16.0, 12.0)}
    assert len(rows) == 16


def test_predictions_of_labels_are_evaluated_as_a_classification(runner: Runner) -> None:
    job = run(runner, kind="inference", model="first", data="light:val")
    evaluation = runner.evaluate([job["id"]])
    assert evaluation["kind"] == "classification"
    assert evaluation["models"][0]["metrics"]["accuracy"] == 1.0


def test_the_picture_in_doubt_is_mined_first(runner: Runner) -> None:
    job = run(runner, kind="mining", model="first", data="light:pool", top_k=1)
    assert [row["name"] for row in runner.mining_ranking(job["id"])] == ["pool/120.png"]


def test_a_contact_sheet_shows_labels_the_least_sure_first_and_no_boxes(runner: Runner, tmp_path: Path) -> None:
    job = run(runner, kind="mining+inference", model="first", data="light:pool")
    assert runner.contact_sheet(job["id"], tmp_path / "sheet.png")["images"] == 3
    with Image.open(tmp_path / "sheet.png") as sheet:
        first = np.asarray(sheet)[57 : 57 + 165, 6 : 6 + 220]  # 220 x 165 pixels in the middle of its cell
    colours = {tuple(colour) for colour in first[:14].reshape(-1, 3).tolist()}
    assert colours & {(230, 159, 0), (86, 180, 233)}, "the label lies on its class's colour across the top"
    assert np.ptp(first[30:, :10].astype(int)) == 0, "no box is drawn around the picture"


def test_an_image_of_boxes_is_refused_labels_before_anything_starts(runner: Runner) -> None:
    before = runner.list_jobs()["total"]
    with pytest.raises(ImageError, match=r"probe handles detection, which light@V001:train cannot teach: .* labels of whole pictures"):
        runner.submit(JobSpec(kind="training", image="probe", train_data="light:train"))
    with pytest.raises(ImageError, match=r"labels handles classification, which pets@V001 cannot teach: its annotations are boxes"):
        runner.submit(JobSpec(kind="training", image="labels", train_data="pets"))
    assert runner.list_jobs()["total"] == before


def test_a_model_of_classification_is_refused_to_learn_boxes_and_to_be_read_by_an_image_of_boxes(runner: Runner) -> None:
    with pytest.raises((ImageError, DatasetError), match=r"first@V0001 handles classification, which pets@V001 cannot teach"):
        runner.submit(JobSpec(kind="training", image="labels", train_data="pets", model="first", new_classes=True))
    with pytest.raises((ImageError, LinkError, RequestError), match="probe does not offer inference for classification"):
        runner.submit(JobSpec(kind="inference", image="probe", model="first", data="light:val", unlinked=True))

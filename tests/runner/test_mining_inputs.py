"""Which predictions and training data a mining job is given, that they are pinned, and what is refused before there is a job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from contracts.dataset import Annotation
from contracts.errors import ConflictError, DatasetError, LinkError, RequestError
from contracts.job import JobSpec
from registry.predictions import remove_prediction
from runner.dataset_files import read_predictions_of, read_words, write_predictions
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder

WISHES = "export_predictions: {predictions}\nexport_training_data: {training}\nexport_format: ark:raw\n"


def open_runner(home: Path) -> Runner:
    return Runner.open(load_settings({"home": str(home), "engine": "process", "gpus": "fake", "poll_interval_s": "0.05"}, environ={}))


def asking_image(folder: Path, predictions: str, training: str) -> Path:
    """The probe, which mines without looking at what it asks for."""
    shutil.copytree(PROBE, folder)
    template = folder / "img-man/mining-template.yaml"
    template.write_text(template.read_text() + WISHES.format(predictions=predictions, training=training))
    for path in (folder / "app/app.py",):  # it insists on a model, which a mining by predictions may lack
        path.write_text(path.read_text().replace("def mine(job):\n    check_model(job)", "def mine(job):"))
    return folder


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mining")
    with open_runner(folder / "home") as runner:
        runner.import_dataset("pets", voc_folder(folder / "pets", {"train": 6, "val": 3, "test": 4}))
        runner.import_dataset("unsplit", voc_folder(folder / "unsplit", {"": 9}))
        runner.build_image(PROBE, name="probe")
        for name, wishes in (("needs", ("required", "required")), ("may", ("optional", "optional"))):
            runner.build_image(asking_image(folder / name, *wishes), name=name)
            runner.link_images("probe", name)
        runner.link_images("probe", "probe")
        run(runner, kind="training", image="probe", train_data="pets", name="first")
    return folder / "home"


@pytest.fixture
def runner(prepared_home: Path, tmp_path: Path) -> Iterator[Runner]:
    shutil.copytree(prepared_home, tmp_path / "home")
    with open_runner(tmp_path / "home") as opened:
        yield opened


def run(runner: Runner, **spec: Any) -> dict[str, Any]:
    job = runner.submit(JobSpec.model_validate(spec))
    runner.run(job["id"])
    return runner.get_job(job["id"])


def infer(runner: Runner, data: str = "pets:test", **spec: Any) -> str:
    return str(run(runner, **{"kind": "inference", "image": "probe", "model": "first", "data": data, **spec})["id"])


def mine(runner: Runner, **spec: Any) -> dict[str, Any]:
    return run(runner, **{"kind": "mining", "image": "needs", "model": "first", "data": "pets:test", **spec})


def env_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(job["run_dir"], "in/env.yaml").read_text())["input"])


def test_an_image_that_asks_for_nothing_gets_what_it_always_got(runner: Runner) -> None:
    infer(runner)
    job = mine(runner, image="probe")
    assert job["data"] == {"data": "pets@V001:test"}
    assert "predictions_dir" not in env_of(job)
    assert env_of(job)["training_index_file"] == ""


def test_the_newest_predictions_of_the_same_stage_are_taken(runner: Runner) -> None:
    older, newer = infer(runner), infer(runner)
    infer(runner, model="first@epoch_1")
    job = mine(runner)
    assert job["state"] == "succeeded"
    assert job["data"] == {"train": "pets@V001:train", "data": "pets@V001:test", "predictions": newer}
    assert mine(runner, predictions=older)["data"]["predictions"] == older
    assert job["spec"]["predictions"] is None


def test_predictions_over_more_pictures_cover_those_of_a_split(runner: Runner) -> None:
    whole = infer(runner, data="pets")
    assert mine(runner)["data"]["predictions"] == whole


def test_without_predictions_the_error_says_the_command(runner: Runner) -> None:
    infer(runner, data="pets:val")
    with pytest.raises(RequestError) as caught:
        mine(runner)
    assert caught.value.message == "needs mines by what a model predicted, and first@V0001@epoch_2 has not predicted on pets@V001:test"
    assert caught.value.hint == "First: sluice infer --model first@V0001@epoch_2 --data pets@V001:test"


def test_named_predictions_that_lack_pictures_are_an_error_when_required_and_a_warning_else(runner: Runner) -> None:
    some = infer(runner, data="pets:val")
    both = runner.derive_dataset("pets", {"op": "filter", "splits": ["val", "test"]}, into="both")
    assert both["images"] == 7
    with pytest.raises(DatasetError, match=f"4 of 7 pictures of both@V001 have no prediction in {some}: .*test000.png.*"):
        mine(runner, data="both", predictions=some)
    job = mine(runner, image="may", data="both", predictions=some)
    assert [warning["code"] for warning in job["warnings"]] == ["not_predicted"]


def test_an_image_that_can_do_without_works_without(runner: Runner) -> None:
    job = mine(runner, image="may")
    assert (job["state"], [warning["code"] for warning in job["warnings"]]) == ("succeeded", ["no_predictions"])
    assert "predictions_dir" not in env_of(job)
    assert env_of(job)["training_index_file"].endswith("train-index.tsv")


def test_a_link_is_needed_as_always(runner: Runner) -> None:
    infer(runner)
    runner.unlink_images("probe", "needs")
    with pytest.raises(LinkError):
        mine(runner)
    assert mine(runner, unlinked=True)["state"] == "succeeded"


def test_without_a_model_predictions_alone_do(runner: Runner) -> None:
    done = infer(runner)
    job = mine(runner, model=None, predictions=done, training_data="pets")
    assert (job["state"], job["model"], job["data"]["train"]) == ("succeeded", None, "pets@V001:train")
    with pytest.raises(RequestError, match="probe needs a model"):
        mine(runner, image="probe", model=None)
    with pytest.raises(RequestError, match="was imported without predictions"):
        mine(runner, model=None)
    with pytest.raises(RequestError, match="needs training data: no model is named"):
        mine(runner, model=None, predictions=done)


def test_what_the_image_does_not_take_is_refused(runner: Runner) -> None:
    done = infer(runner)
    for given, option in (({"predictions": done}, "--predictions"), ({"training_data": "pets"}, "--training-data")):
        with pytest.raises(RequestError, match=f"probe does not take {option}"):
            mine(runner, image="probe", **given)


def test_pictures_of_test_are_never_training_data(runner: Runner) -> None:
    infer(runner)
    with pytest.raises(DatasetError, match="kept for a last measurement"):
        mine(runner, training_data="pets:test")


def test_what_was_set_aside_for_validation_is_no_training_data(runner: Runner) -> None:
    trained = run(runner, kind="training", image="probe", train_data="unsplit", name="second", seed=3)
    infer(runner, model="second")
    mined = mine(runner, model="second")
    assert mined["data"]["train"] == "unsplit@V001"
    assert 0 < len(listed_for_training(trained)) < 9
    assert listed_for_training(mined) == listed_for_training(trained)


def listed_for_training(job: dict[str, Any]) -> set[str]:
    rows = Path(job["run_dir"], "in/train-index.tsv").read_text().splitlines()
    return {Path(row.split("\t")[0]).name for row in rows}


def test_training_data_that_are_no_longer_what_they_were_are_not_given(runner: Runner, tmp_path: Path) -> None:
    infer(runner)
    runner.remove_dataset("pets")
    runner.import_dataset("pets", voc_folder(tmp_path / "others", {"train": 2, "test": 4}))
    infer(runner)
    with pytest.raises(RequestError, match="pets@V001:train is no longer what first@V0001 was trained on"):
        mine(runner)
    assert "no_training_data" in [warning["code"] for warning in mine(runner, image="may")["warnings"]]


def test_the_training_data_of_a_mining_that_waits_are_not_removed(runner: Runner, tmp_path: Path) -> None:
    runner.import_dataset("pool", voc_folder(tmp_path / "pool", {"test": 4}))
    infer(runner, data="pool")
    waiting = runner.submit(JobSpec.model_validate({"kind": "mining", "image": "needs", "model": "first", "data": "pool"}))
    with pytest.raises(ConflictError, match=f"dataset 'pets' is read by unfinished jobs: {waiting['id']}"):
        runner.remove_dataset("pets")
    runner.run(waiting["id"])
    assert runner.remove_dataset("pets")


def test_a_rerun_takes_the_same_predictions_and_says_when_they_are_gone(runner: Runner) -> None:
    first = infer(runner)
    job = mine(runner)
    infer(runner)
    again = runner.rerun_job(job["id"])
    assert again["data"] == job["data"]
    with runner._installation.database.writing() as session:
        remove_prediction(session, first)
    with pytest.raises(DatasetError, match=f"the predictions of {first} are gone"):
        runner.rerun_job(job["id"])


def test_a_file_of_predictions_that_was_lost_covers_nothing(runner: Runner) -> None:
    done = runner.get_job(infer(runner))
    Path(done["result"]["predictions_file"]).unlink()
    with pytest.raises(RequestError, match="has not predicted"):
        mine(runner)


def test_a_request_is_not_answered_from_before_somebody_predicted(runner: Runner) -> None:
    older = infer(runner)
    spec = JobSpec.model_validate({"kind": "mining", "image": "needs", "model": "first", "data": "pets:test"})
    assert runner.submit(spec)["data"]["predictions"] == older
    newer = infer(runner)
    assert runner.submit(spec)["data"]["predictions"] == newer


def test_only_a_mining_takes_them() -> None:
    with pytest.raises(ValueError, match="are for mining"):
        JobSpec.model_validate({"kind": "inference", "model": "m", "data": "d", "predictions": "x"})


# -------------------------------------------------------------------------------------------------------- reading in order


def test_predictions_are_read_by_picture_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.dataset_files._PICTURES_AT_ONCE", 2)
    ids = [f"{number:040x}" for number in range(7)]
    found = {ids[number]: tuple(Annotation("cat", place, 0, 1, 1, score=0.5) for place in range(number % 3)) for number in (5, 0, 3, 6, 1)}
    write_predictions(tmp_path / "p.parquet", {**found, "f" * 40: (Annotation("dog", 0, 0, 1, 1, score=0.5),)})
    names = [f"{one}.jpg" for one in ids]
    read = list(read_predictions_of(tmp_path / "p.parquet", pa.array(ids), names))
    assert [name for name, _ in read] == [names[number] for number in (0, 1, 3, 5, 6)]
    assert {name.removesuffix(".jpg"): boxes for name, boxes in read} == found
    assert read_words(tmp_path / "p.parquet", "class_name") == ["cat", "dog"]
    assert json.dumps(read_words(tmp_path / "p.parquet", "no such")) == "[]"

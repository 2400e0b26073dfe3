"""Runs of one name: versions, comparison, presets, classes, and running again from the record."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConflictError, DatasetError, ImageMissingError, NotFoundError, ParameterError, RequestError
from contracts.job import JobSpec
from registry import datasets, jobs
from registry.jobs import JobRecord
from runner.model_classes import refuse_no_common_class
from runner.models import get_stage
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", "poll_interval_s": "0.05"})
    shutil.copytree(PROBE, tmp_path / "probe")
    with Runner.open(settings) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6, "val": 3}))
        runner.build_image(tmp_path / "probe", name="probe")
        runner.link_images("probe", "probe")
        yield runner


def run(runner: Runner, **given: Any) -> dict[str, Any]:
    spec = {"kind": "training", "image": "probe", "train_data": "pets", **given}
    *_, ended = runner.watch(runner.submit(JobSpec(**spec))["id"])
    assert ended["state"] == "succeeded", ended["evidence"]
    return ended


def record(runner: Runner, reference: str) -> JobRecord:
    with runner._installation.database.reading() as session:
        return jobs.get_job(session, reference)


# -------------------------------------------------------------------------------------------------------------- versions


def test_each_run_of_a_name_is_a_version_with_what_was_changed(runner: Runner) -> None:
    first = run(runner, name="nightly")
    second = run(runner, name="nightly", parameters={"expected_map": 0.875}, seed=7)
    assert (first["version"], second["version"], runner.get_job("nightly")["id"]) == ("V0001", "V0002", second["id"])
    assert runner.get_job("nightly@V0001")["id"] == first["id"]
    shown = runner.job_versions("nightly")["versions"]
    assert [(v["version"], v["result"], v["metrics"]) for v in shown] == [
        ("V0001", "nightly@V0001@epoch_2", {"mAP": 0.75}),
        ("V0002", "nightly@V0002@epoch_2", {"mAP": 0.875}),
    ]
    assert shown[0]["changes"] == []
    assert shown[1]["changes"] == [
        {"section": "inputs", "name": "seed", "before": 0, "after": 7},
        {"section": "parameters", "name": "expected_map", "before": 0.75, "after": 0.875},
    ]
    with pytest.raises(NotFoundError, match="no named job 'nightli'"):
        runner.job_versions("nightli")


def test_a_resubmit_with_its_key_keeps_its_version_and_mining_counts_too(runner: Runner) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets", name="keyed")
    assert [runner.submit(spec, idempotency_key="k")["version"] for _ in range(2)] == ["V0001", "V0001"]
    assert runner.submit(spec)["version"] == "V0002"
    run(runner, name="model")
    mining = {"kind": "mining", "image": None, "train_data": None, "model": "model", "data": "pets:val", "name": "dig"}
    assert [run(runner, **mining)["version"] for _ in range(2)] == ["V0001", "V0002"]
    assert runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))["version"] is None


def test_jobs_are_compared_and_what_one_lacks_is_blank(runner: Runner) -> None:
    first, second = run(runner, name="a"), run(runner, name="a", parameters={"sleep_s": 0.01})
    mined = run(runner, kind="mining", image=None, train_data=None, model="a@V0001", data="pets:val")
    compared = runner.compare_jobs([first["id"], "a@V0002", mined["id"]])
    rows = {row["name"]: (row["values"], row["differs"]) for row in compared["rows"]}
    assert rows["mAP"] == ([0.75, 0.75, None], True)
    assert rows["sleep_s"] == ([0.0, 0.01, 0.0], True)
    assert rows["ranked"] == ([None, None, 3], True)
    assert [job["version"] for job in compared["jobs"]] == ["V0001", "V0002", None]
    assert {row["section"] for row in compared["rows"]} == {"inputs", "parameters", "metrics", "outcome"}
    alike = {row["name"]: row["differs"] for row in runner.compare_jobs([first["id"], second["id"]])["rows"]}
    assert (alike["image digest"], alike["expected_map"], alike["sleep_s"]) == (False, False, True)
    with pytest.raises(RequestError, match="1 jobs cannot be compared"):
        runner.compare_jobs(["a"])


def test_metrics_of_an_images_own_are_shown_and_compared(runner: Runner, tmp_path: Path) -> None:
    shutil.copytree(PROBE, tmp_path / "own")
    program = tmp_path / "own" / "app" / "app.py"
    plain = 'f"    mAP: {score}"]'
    assert plain in program.read_text()
    program.write_text(program.read_text().replace(plain, 'f"    mAP: {score}", "    F1: 0.5", "    AP@0.5 (small): 40", "    by: me"]'))
    runner.build_image(tmp_path / "own", name="own")
    ended, other = run(runner, image="own", name="a"), run(runner, name="b")
    assert ended["result"]["metrics"] == {"mAP": 0.75, "F1": 0.5, "AP@0.5 (small)": 40}
    assert "result_value_left_out" in [warning["code"] for warning in ended["warnings"]]
    assert {stage["metrics"]["F1"] for stage in runner.get_model("a")["stages"]} == {0.5}
    rows = {row["name"]: row["values"] for row in runner.compare_jobs([ended["id"], other["id"]])["rows"]}
    assert (rows["F1"], rows["AP@0.5 (small)"]) == ([0.5, None], [40, None])
    package = runner.export_model("a", tmp_path / "a.tar")["file"]
    assert {stage["metrics"]["mAP"] for stage in runner.import_model("back", Path(package))["stages"]} >= {0.75}


# ---------------------------------------------------------------------------------------------------------------- rerun


def _change_everything(runner: Runner, tmp_path: Path) -> None:
    """Another image under the name with other defaults, another version of the data, another model of the name."""
    shutil.copytree(tmp_path / "probe", tmp_path / "probe2")
    template = tmp_path / "probe2" / "img-man" / "training-template.yaml"
    template.write_text(template.read_text().replace("expected_map: 0.75", "expected_map: 0.5"))
    runner.remove_image("probe")
    runner.build_image(tmp_path / "probe2", name="probe")
    runner.link_images("probe", "probe")
    runner.import_dataset("pets", voc_folder(tmp_path / "more", {"train": 9, "val": 4}))


def test_a_rerun_has_exactly_the_recorded_inputs_whatever_came_since(runner: Runner, tmp_path: Path) -> None:
    base = run(runner, name="base")
    job = run(runner, name="nightly", model="base", seed=5, parameters={"sleep_s": 0.01})
    run(runner, name="base")
    runner.recommend_stage("base", "epoch_1")
    _change_everything(runner, tmp_path)
    again = runner.rerun_job(job["id"])
    *_, ended = runner.watch(again["id"])
    then, now = record(runner, job["id"]), record(runner, again["id"])
    assert {**now.plan} == {**then.plan}
    assert (now.image_digest, now.image_reference, now.spec) == (then.image_digest, then.image_reference, then.spec)
    assert (ended["state"], ended["version"], ended["rerun_of"], ended["result"]["metrics"]) == (
        "succeeded",
        "V0002",
        job["id"],
        {"mAP": 0.75},
    )
    assert ended["model"] == f"{base['result']['model']}@epoch_2"
    latest = record(runner, runner.rerun_job(job["id"], latest=True)["id"])
    assert latest.image_digest != then.image_digest
    assert (latest.plan["train"], latest.plan["parameters"]["expected_map"], latest.version) == ("pets@V002:train", 0.5, 3)
    assert (latest.plan["model"], latest.plan["stage"]) == ("base@V0002", "epoch_1")


def test_an_image_that_is_gone_is_named_and_the_current_one_offered(runner: Runner, tmp_path: Path) -> None:
    job = run(runner, name="nightly", parameters={"expected_map": 0.625})
    _change_everything(runner, tmp_path)
    shutil.rmtree(tmp_path / "probe")
    with pytest.raises(ImageMissingError, match="is gone from the process engine") as caught:
        runner.rerun_job(job["id"])
    assert "--current-image" in caught.value.hint
    again = record(runner, runner.rerun_job(job["id"], current_image=True)["id"])
    assert again.image_digest == runner.get_image("probe")["digest"] != job["image"]["digest"]
    assert (again.plan["train"], again.plan["parameters"]["expected_map"]) == ("pets@V001:train", 0.625)
    runner.cancel_job(again.id)
    runner.remove_image("probe")
    with pytest.raises(ImageMissingError) as caught:
        runner.rerun_job(job["id"])
    assert "sluice image add" in caught.value.hint


def test_data_that_is_another_now_is_never_taken_for_what_it_was(runner: Runner, tmp_path: Path) -> None:
    job = run(runner, name="nightly")
    with runner._installation.database.writing() as session:
        datasets.remove_dataset(session, "pets")
    runner.import_dataset("pets", voc_folder(tmp_path / "other", {"train": 5, "val": 2}))
    with pytest.raises(DatasetError, match="pets@V001:train is no longer what the job was given"):
        runner.rerun_job(job["id"])
    runner.import_dataset("animals", tmp_path / "pets")
    again = runner.rerun_job(job["id"])
    assert again["data"] == {"train": "animals@V001:train", "val": "animals@V001:val"}
    assert [warning["code"] for warning in again["warnings"]] == ["data_moved", "data_moved"]


def test_a_model_is_found_by_its_files_after_a_rename_and_missed_when_another_has_its_name(runner: Runner) -> None:
    run(runner, name="base")
    job = run(runner, name="nightly", model="base")
    runner.rename_model("base", "renamed")
    again = runner.rerun_job(job["id"])
    assert again["model"] == "renamed@V0001@epoch_2"
    runner.cancel_job(again["id"])
    folder = Path(runner.get_model("renamed")["folder"])
    (folder / "epoch_2" / "weights.json").chmod(0o644)
    (folder / "epoch_2" / "weights.json").write_text("other")
    with pytest.raises(RequestError, match=r"weights\.json of renamed@V0001@epoch_2 is changed"):
        runner.rerun_job(job["id"])
    runner.remove_model("renamed")
    with pytest.raises(NotFoundError, match=r"that the job \w+ read is gone"):
        runner.rerun_job(job["id"])


# -------------------------------------------------------------------------------------------------------------- classes


def test_a_training_from_a_model_of_other_classes_is_refused_unless_it_is_wanted(runner: Runner, tmp_path: Path) -> None:
    run(runner, name="pair")
    run(runner, name="single", class_names=["dog"])
    with pytest.raises(DatasetError, match="only the data has cat") as caught:
        run(runner, model="single")
    assert "--classes dog" in caught.value.hint
    assert "--new-classes" in caught.value.hint
    with pytest.raises(DatasetError, match="only the model knows cat"):
        run(runner, model="pair", class_names=["dog"])
    with pytest.raises(DatasetError, match="the same in another order"):
        run(runner, model="pair", class_names=["dog", "cat"])
    allowed = run(runner, model="single", new_classes=True)
    assert "new_classes" in [warning["code"] for warning in allowed["warnings"]]
    assert runner.get_model(allowed["result"]["model"])["class_names"] == ["cat", "dog"]
    continued = run(runner, model="single", class_names=["dog"])
    assert runner.get_model(continued["result"]["model"])["origin"]["started_from"] == "single@V0001@epoch_2"
    with pytest.raises(ValueError, match="new_classes is for a training"):
        JobSpec(kind="training", image="probe", train_data="pets", new_classes=True)
    with runner._installation.database.reading() as session:
        model, _ = get_stage(session, "single")
    refuse_no_common_class(model, ["dog", "bird"], "birds@V001")
    with pytest.raises(DatasetError, match="has none of the classes that single@V0001 knows"):
        refuse_no_common_class(model, ["bird"], "birds@V001")


# -------------------------------------------------------------------------------------------------------------- presets


def test_a_preset_of_a_job_makes_an_equal_job(runner: Runner) -> None:
    job = run(runner, name="nightly", parameters={"sleep_s": 0.01}, seed=3, priority=5)
    saved = runner.save_preset("usual", from_job=job["id"])
    assert (saved["from_job"], saved["request"]["parameters"]) == (job["id"], {"sleep_s": 0.01})
    again = record(runner, runner.submit(JobSpec(**saved["request"], name="nightly"))["id"])
    then = record(runner, job["id"])
    assert (again.spec, again.plan) == (then.spec, then.plan)
    runner.remove_preset("usual")
    assert runner.list_presets() == []
    assert runner.get_job(job["id"])["name"] == "nightly"
    with pytest.raises(NotFoundError, match="no preset 'usual'"):
        runner.get_preset("usual")


def test_a_preset_can_be_a_part_and_is_edited_field_by_field(runner: Runner) -> None:
    saved = runner.save_preset("quick", request={"kind": "training", "image": "probe"}, texts=["sleep_s=1", "exit_code=0"])
    assert saved["request"] == {"kind": "training", "image": "probe", "parameters": {"sleep_s": 1.0, "exit_code": 0}}
    edited = runner.edit_preset("quick", request={"train_data": "pets", "seed": 4}, texts=["sleep_s=0.5"], unset=["parameters.exit_code"])
    assert edited["request"] == {"kind": "training", "image": "probe", "train_data": "pets", "parameters": {"sleep_s": 0.5}, "seed": 4}
    assert runner.edit_preset("quick", unset=["seed"])["request"] == {k: v for k, v in edited["request"].items() if k != "seed"}
    with pytest.raises(ConflictError, match="there is a preset 'quick' already"):
        runner.save_preset("quick", request={"kind": "training", "image": "probe"})


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"request": {"nonsense": 1}}, RequestError),
        ({"request": {"gpu_count": -1}}, RequestError),
        ({"request": {"data": "pets"}}, RequestError),
        ({"request": {"name": "fixed"}}, RequestError),
        ({"request": {"parameters": [1]}}, RequestError),
        ({"texts": ["nonsense=1"]}, ParameterError),
        ({"texts": ["sleep_s=soon"]}, ParameterError),
        ({"unset": ["kind"]}, RequestError),
        ({"unset": ["parameters.nonsense"]}, RequestError),
    ],
)
def test_a_wrong_change_leaves_the_preset_as_it_was(runner: Runner, change: dict[str, Any], kind: type[RequestError]) -> None:
    before = runner.save_preset("quick", request={"kind": "training", "image": "probe"})
    with pytest.raises(kind):
        runner.edit_preset("quick", **change)
    assert runner.get_preset("quick") == before

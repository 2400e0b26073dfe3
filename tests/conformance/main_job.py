"""The main job on any engine: train, mine, infer and both at once through an image, and every way that can go wrong.

A subclass provides ``engine_name``; the image is tests/images/probe, which keeps the contract in a few stdlib lines and misbehaves on request.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from contracts.errors import DatasetError, ImageError, LinkError, NotFoundError, ParameterError
from contracts.job import JobSpec
from runner.service import Runner
from runner.settings import environment_of, load_settings

PROBE = Path(__file__).parents[1] / "images" / "probe"


def voc_folder(folder: Path, splits: dict[str, int]) -> Path:
    """A small Pascal VOC set; every picture has other bytes and one box of class cat or dog."""
    names: dict[str, list[str]] = {split: [f"{split}{i:03d}" for i in range(count)] for split, count in splits.items()}
    for sub in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / sub).mkdir(parents=True)
    for number, name in enumerate(name for group in names.values() for name in group):
        Image.new("RGB", (40, 30), (number % 256, number // 256, 99)).save(folder / "JPEGImages" / f"{name}.png")
        box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>22</ymax></bndbox>"
        label = ("cat", "dog")[number % 2]
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
            f"<object><name>{label}</name>{box}</object></annotation>"
        )
    for split, group in names.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(group) + "\n")
    return folder


class MainJobConformance:
    """Subclass it with ``engine_name``."""

    engine_name: str

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Iterator[Runner]:
        settings = load_settings(
            {"home": str(tmp_path / "home"), "engine": self.engine_name, "poll_interval_s": "0.1", "stop_grace_s": "2"}
        )
        with Runner.open(settings) as runner:
            runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6, "val": 3, "test": 4}))
            runner.build_image(PROBE, name="probe")
            runner.link_images("probe", "probe")
            yield runner

    def _run(self, runner: Runner, **spec: Any) -> dict[str, Any]:
        job = runner.submit(JobSpec(**spec))
        *_, last = runner.watch(job["id"])
        return last

    def _train(self, runner: Runner, **spec: Any) -> dict[str, Any]:
        return self._run(runner, **{"kind": "training", "image": "probe", "train_data": "pets", **spec})

    # ------------------------------------------------------------------------------------------------------ what must work

    def test_a_training_leaves_a_model_with_its_stages_and_their_files(self, runner: Runner) -> None:
        job = self._train(runner, name="first")
        assert (job["state"], job["end_reason"], job["exit_code"]) == ("succeeded", "succeeded", 0), job["evidence"]
        assert job["result"]["metrics"] == {"mAP": 0.75}
        model = runner.get_model("first")
        assert (model["best_stage"], [stage["name"] for stage in model["stages"]]) == ("epoch_2", ["epoch_1", "epoch_2"])
        files = Path(model["folder"])
        assert '"class_names": ["cat", "dog"]' in (files / "epoch_2" / "weights.json").read_text()
        assert job["progress"]["fraction"] == 1.0

    def test_the_splits_of_the_dataset_reach_the_image_and_test_does_not(self, runner: Runner) -> None:
        job = self._train(runner)
        assert job["data"] == {"train": "pets@V001:train", "val": "pets@V001:val"}
        log, _, ended = runner.read_job_log(job["id"])
        assert b"training on 9 pictures, classes ['cat', 'dog']" in log
        assert runner.read_job_log(job["id"], len(log)) == (b"", len(log), True)
        assert not ended

    def test_mining_ranks_the_candidates_and_keeps_the_chosen_ones(self, runner: Runner) -> None:
        self._train(runner, name="first")
        job = self._run(runner, kind="mining", model="first", data="pets:test", top_k=2)
        assert (job["state"], job["result"]["ranked"]) == ("succeeded", 4), job["evidence"]
        ranking = runner.mining_ranking(job["id"])
        assert [row["rank"] for row in ranking] == [1, 2]
        assert ranking[0]["score"] > ranking[1]["score"]
        assert "test" in ranking[0]["name"]

    def test_inference_stores_predictions_by_asset_with_scores(self, runner: Runner) -> None:
        self._train(runner, name="first")
        job = self._run(runner, kind="inference", model="first", data="pets:test")
        assert (job["result"]["images"], job["result"]["boxes"]) == (4, 4), job["evidence"]
        rows = pq.read_table(job["result"]["predictions_file"]).to_pylist()
        assert {(row["x"], row["y"], row["width"], row["height"], row["score"]) for row in rows} == {(1.0, 2.0, 6.0, 5.0, 0.9)}

    def test_mining_and_inference_run_in_one_container(self, runner: Runner) -> None:
        self._train(runner, name="first")
        job = self._run(runner, kind="mining+inference", model="first@epoch_1", data="pets:test")
        assert job["model"] == "first@V0001@epoch_1"
        assert (job["result"]["mining"]["ranked"], job["result"]["inference"]["boxes"]) == (4, 4), job["evidence"]

    def test_a_job_over_very_many_pictures_is_shown_the_store_where_that_is_allowed(
        self, runner: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = runner._installation
        monkeypatch.setattr(parts, "settings", replace(parts.settings, index_view_from=4))
        assert self._train(runner, name="first")["warnings"] == []  # what it must not learn from is not shown to a training
        job = self._run(runner, kind="mining+inference", model="first", data="pets:test")
        assert (job["state"], job["result"]["mining"]["ranked"], job["result"]["inference"]["boxes"]) == ("succeeded", 4, 4), job[
            "evidence"
        ]
        assert [warning["code"] for warning in job["warnings"]] == ["sees_whole_store"]
        place = parts.engine.show_folder(parts.home / "assets", "/in/assets")
        rows = (Path(job["run_dir"]) / "in" / "candidate-index.tsv").read_text().splitlines()
        assert [row.startswith(f"{place}/") for row in rows] == [True] * 4
        failed = self._run(runner, kind="mining", model="first", data="pets:test", parameters={"exit_code": 3})
        assert list((Path(failed["run_dir"]) / "in" / "assets").iterdir()) == []

    def test_a_contact_sheet_shows_what_was_found(self, runner: Runner, tmp_path: Path) -> None:
        self._train(runner, name="first")
        job = self._run(runner, kind="inference", model="first", data="pets:test")
        assert runner.contact_sheet(job["id"], tmp_path / "sheet.png")["images"] == 4
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.size == (4 * 226 + 6, 24 + 244 + 6)

    def test_a_training_continues_from_a_stage_of_another(self, runner: Runner) -> None:
        self._train(runner, name="first")
        assert self._train(runner, name="second", model="first@epoch_1")["model"] == "first@V0001@epoch_1"

    # ------------------------------------------------------------------------------------------------- what may go wrong

    def test_an_image_that_fails_is_named_with_its_own_words_and_its_output(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"exit_code": 7})
        assert (job["state"], job["end_reason"], job["exit_code"]) == ("failed", "exit_code", 7)
        assert job["evidence"]["log_tail"][-1] == "probe: done"
        assert "last log lines" in job["next_step"]

    def test_the_stages_of_a_failed_training_are_kept_with_a_warning(self, runner: Runner) -> None:
        job = self._train(runner, name="half", parameters={"exit_code": 7})
        assert [warning["code"] for warning in job["warnings"]] == ["salvaged"]
        assert runner.get_model("half")["best_stage"] == "epoch_2"

    def test_a_silent_image_is_told_what_it_must_leave(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "silent"})
        assert (job["end_reason"], job["exit_code"]) == ("result_missing", 0)
        assert "result.yaml" in job["evidence"]["message"]

    def test_a_result_that_nobody_can_read_is_named(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "malformed"})
        assert (job["end_reason"], job["result"]) == ("result_malformed", None)
        assert "result.yaml" in job["evidence"]["message"]

    def test_the_images_own_code_and_message_are_evidence(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "partial"})
        assert (job["evidence"]["image_code"], job["evidence"]["image_message"]) == (300103, "out of memory on the card")
        assert [stage["name"] for stage in job["result"]["stages"]] == ["epoch_1"]

    def test_a_hanging_image_ends_at_its_timeout(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "hang"}, timeout_s=1.0)
        assert (job["state"], job["end_reason"]) == ("failed", "timeout")

    def test_an_image_that_ignores_sigterm_is_killed_after_the_grace(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "ignore-term"}, timeout_s=1.0)
        assert (job["end_reason"], job["exit_code"]) == ("timeout", 137)

    def test_a_job_is_cancelled_while_it_runs(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "hang"}))
        next(update for update in runner.watch(job["id"]) if update["step"] == "follow")
        job = runner.cancel_job(job["id"])
        assert (job["state"], job["end_reason"]) == ("cancelled", "cancelled")
        assert runner.cancel_job(job["id"])["ended_at"] == job["ended_at"]

    def test_a_job_is_cancelled_before_it_starts(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))
        assert runner.cancel_job(job["id"])["state"] == "cancelled"

    def test_a_job_can_be_run_again(self, runner: Runner) -> None:
        job = self._train(runner, name="first")
        again = runner.rerun_job(job["id"])
        assert (again["rerun_of"], again["name"], again["version"], again["state"]) == (job["id"], "first", "V0002", "queued")
        *_, last = runner.watch(again["id"])
        assert last["state"] == "succeeded"

    # ------------------------------------------------------------------------------------------- what is refused at submit

    @pytest.mark.parametrize(
        ("spec", "error", "words"),
        [
            ({"image": "prob"}, NotFoundError, "probe"),
            ({"train_data": "birds"}, NotFoundError, "birds"),
            ({"train_data": "pets:none"}, DatasetError, "train \\(6\\)"),
            ({"train_data": "pets@V009"}, NotFoundError, "V009"),
            ({"val_data": "pets:train"}, DatasetError, "6 pictures are in both"),
            ({"class_names": ["cow"]}, DatasetError, "no class 'cow'"),
            ({"parameters": {"behavior": "ok"}}, ParameterError, "behaviour"),
            ({"parameters": {"sleep_s": "long"}}, ParameterError, "sleep_s"),
            ({"parameters": {"task_id": "x"}}, ParameterError, "task_id"),
            ({"model": "none"}, NotFoundError, "none"),
        ],
    )
    def test_a_request_that_cannot_work_is_refused_and_leaves_nothing(
        self, runner: Runner, spec: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            runner.submit(JobSpec(**{"kind": "training", "image": "probe", "train_data": "pets", **spec}))
        assert runner.list_jobs()["total"] == 0
        assert not list((runner._installation.home / "runs").iterdir())

    def test_an_image_that_is_not_linked_is_refused_unless_it_is_said(self, runner: Runner) -> None:
        self._train(runner, name="first")
        runner.unlink_images("probe", "probe")
        for image in (None, "probe"):
            with pytest.raises(LinkError, match="sluice image link probe"):
                runner.submit(JobSpec(kind="mining", image=image, model="first", data="pets:test"))
        job = self._run(runner, kind="mining", image="probe", model="first", data="pets:test", unlinked=True)
        assert job["state"] == "succeeded"

    def test_a_model_is_never_overwritten(self, runner: Runner) -> None:
        left = [self._train(runner, name="first")["result"]["model"] for _ in range(2)]
        assert left == ["first@V0001", "first@V0002"]
        assert runner.get_model("first")["version"] == "V0002"
        first, second = (Path(runner.get_model(model)["folder"]) for model in left)
        assert first != second
        assert (first / "epoch_2" / "weights.json").is_file()

    def test_a_folder_without_templates_is_no_image(self, runner: Runner, tmp_path: Path) -> None:
        (tmp_path / "empty" / "app").mkdir(parents=True)
        with pytest.raises(ImageError):
            runner.build_image(tmp_path / "empty")

    # ----------------------------------------------------------------------------------------------- what must never be lost

    @pytest.mark.parametrize("step", ["stage", "pull", "create", "start", "follow", "collect", "finish"])
    def test_a_job_whose_runner_is_killed_at_any_step_is_carried_on(self, runner: Runner, step: str) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="kept", parameters={"sleep_s": 0.5}))
        drive_and_die(runner, job["id"], step)
        left = runner.get_job(job["id"])
        assert (left["step"], left["attended"], left["state"]) == (step, False, "running")
        *_, last = runner.watch(job["id"])
        assert (last["state"], last["attempt"]) == ("succeeded", 1), last["evidence"]
        log = runner.read_job_log(job["id"])[0]
        assert log.count(b"probe: done") == 1
        assert len(runner.get_model("kept")["stages"]) == 2

    def test_a_container_nobody_could_note_is_removed_when_the_job_is_cancelled(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))
        drive_and_die(runner, job["id"], "created")
        engine = runner._installation.engine
        assert [container.state for container in engine.list_containers({"sluice.job": job["id"]})] == ["created"]
        assert runner.cancel_job(job["id"])["state"] == "cancelled"
        assert engine.list_containers({"sluice.job": job["id"]}) == []

    def test_a_job_that_ended_while_no_runner_lived_keeps_its_exit_code_and_results(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="kept", parameters={"exit_code": 3}))
        drive_and_die(runner, job["id"], "follow")
        container = runner._installation.engine.list_containers({"sluice.job": job["id"]})[0]
        with runner._installation.engine.watch(container.id) as watch:
            assert watch.wait(30.0) is not None
        *_, last = runner.watch(job["id"])
        assert (last["end_reason"], last["exit_code"]) == ("exit_code", 3)
        assert runner.get_model("kept")["best_stage"] == "epoch_2"

    def test_nothing_is_left_behind(self, runner: Runner) -> None:
        for parameters in ({}, {"exit_code": 1}, {"behaviour": "silent"}):
            self._train(runner, parameters=parameters)
        parts = runner._installation
        assert parts.engine.list_containers({"sluice.installation": parts.id}) == []
        assert not [path for path in parts.home.rglob("*") if path.name.startswith(".") and path.name.endswith(".new")]

    def test_a_run_directory_keeps_its_pictures_only_for_a_job_that_failed(self, runner: Runner) -> None:
        good, bad = self._train(runner), self._train(runner, parameters={"exit_code": 1})
        inside = [{path.name for path in (Path(job["run_dir"]) / "in").iterdir()} for job in (good, bad)]
        assert inside[0] == {"config.yaml", "env.yaml", "train-index.tsv", "val-index.tsv"}
        assert inside[1] == inside[0] | {"assets", "annotations", "models", "predictions"}

    def test_a_job_that_was_handed_over_goes_on_in_a_process_of_its_own(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", parameters={"sleep_s": 1.0}))
        runner.attend(job["id"])
        with Runner.open(runner._installation.settings) as other:
            *_, last = other.watch(job["id"])
        assert last["state"] == "succeeded", last["evidence"]


def drive_and_die(runner: Runner, job_id: str, step: str) -> None:
    """A process drives the job and is killed with SIGKILL just after it has journalled the step; ``created``: just after the container is."""
    code = (
        "import os, signal, sys\n"
        "from runner.journal import Journal\n"
        "from runner.service import Runner\n"
        "from runner.settings import load_settings\n"
        "enter = Journal.enter\n"
        "def enter_and_die(self, step, **detail):\n"
        "    enter(self, step, **detail)\n"
        f"    if str(step) == {step!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Journal.enter = enter_and_die\n"
        "hold_back = Journal.hold_back\n"
        "def die_or_hold_back(self, **columns):\n"
        f"    if 'container_id' in columns and {step!r} == 'created': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    hold_back(self, **columns)\n"
        "Journal.hold_back = die_or_hold_back\n"
        "with Runner.open(load_settings()) as runner: runner.run(sys.argv[1])\n"
    )
    environment = {**os.environ, **environment_of(runner._installation.settings)}
    done = subprocess.run([sys.executable, "-c", code, job_id], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr

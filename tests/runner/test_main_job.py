"""The main job through image folders, without containers."""

from __future__ import annotations

import shutil
from pathlib import Path

from contracts.job import JobSpec
from runner.service import Runner
from tests.conformance.main_job import PROBE, MainJobConformance


class TestMainJobOnProcess(MainJobConformance):
    engine_name = "process"

    def test_an_image_folder_that_changed_since_it_was_registered_is_named(self, runner: Runner, tmp_path: Path) -> None:
        shutil.copytree(PROBE, tmp_path / "own")
        runner.build_image(tmp_path / "own", name="own")
        job = runner.submit(JobSpec(kind="training", image="own", train_data="pets"))
        (tmp_path / "own" / "app" / "start.sh").write_text("exit 0\n")
        *_, job = runner.watch(job["id"])
        assert (job["state"], job["end_reason"]) == ("failed", "image_missing")
        assert runner.get_image("own")["state"] == "moved"

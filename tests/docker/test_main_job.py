"""The main job through real containers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.job import JobSpec
from runner.service import Runner
from tests.conformance.main_job import MainJobConformance


@pytest.mark.docker
class TestMainJobOnDocker(MainJobConformance):
    engine_name = "docker"

    def test_out_of_memory_is_told_by_the_engines_flag(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "oom"}, memory_bytes=64 * 1024**2)
        assert (job["end_reason"], job["evidence"]["out_of_memory"]) == ("out_of_memory", True)
        assert "--memory" in job["next_step"]

    def test_a_container_killed_from_outside_is_not_called_out_of_memory(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "hang"}))
        for update in runner.watch(job["id"]):
            if update["step"] == "follow" and update["progress"]:
                subprocess.run(["docker", "kill", f"sluice-{job['id']}-1"], check=False, capture_output=True)
            job = update
        assert (job["end_reason"], job["exit_code"]) == ("killed", 137)
        assert "not for want of memory" in job["evidence"]["message"]

    def test_a_container_removed_from_outside_is_noticed(self, runner: Runner) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "hang"}))
        for update in runner.watch(job["id"]):
            if update["step"] == "follow":
                subprocess.run(["docker", "rm", "-f", f"sluice-{job['id']}-1"], check=False, capture_output=True)
            job = update
        assert (job["state"], job["end_reason"]) == ("failed", "killed")
        assert runner._installation.engine.status(f"sluice-{job['id']}-1").state == "gone"

    def test_a_tag_that_moved_is_reported_and_the_registered_digest_runs(self, runner: Runner) -> None:
        registered = runner.get_image("probe")
        assert registered["state"] == "ready"
        dockerfile = f"FROM {registered['digest']}\nLABEL moved=yes\n"
        subprocess.run(
            ["docker", "build", "-q", "-t", registered["reference"], "-"], input=dockerfile, text=True, check=True, capture_output=True
        )
        assert runner.get_image("probe")["state"] == "moved"
        job = self._train(runner)
        assert [warning["code"] for warning in job["warnings"]] == ["tag_moved"]
        assert (job["state"], job["image"]["digest"]) == ("succeeded", registered["digest"])

    def test_the_image_can_read_its_own_output_but_not_change_it(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "own-log"})
        seen = json.loads((Path(job["run_dir"]) / "out" / "own-log.json").read_text())
        assert seen == {"text": "probe: one line\n", "writable": False}

    def test_a_cpu_job_sees_no_gpu(self, runner: Runner) -> None:
        job = self._train(runner, parameters={"behaviour": "print-env"})
        started = json.loads((Path(job["run_dir"]) / "out" / "env.json").read_text())
        assert started["env"]["NVIDIA_VISIBLE_DEVICES"] == "void"

    def test_an_image_that_the_engine_lost_and_no_registry_has_is_named(self, runner: Runner) -> None:
        runner.add_image(self._image_to_lose(runner, "lost"), name="lost", pull=False)
        job = runner.submit(JobSpec(kind="training", image="lost", train_data="pets"))
        subprocess.run(["docker", "rmi", "-f", "sluice/lost:latest"], check=True, capture_output=True)
        *_, job = runner.watch(job["id"])
        assert (job["state"], job["end_reason"]) == ("failed", "pull_failed")
        assert "sluice/lost" in job["evidence"]["message"]
        assert runner.get_image("lost")["state"] == "missing"

    def test_an_image_without_the_program_it_starts_is_named(self, runner: Runner) -> None:
        reference = self._image_to_lose(runner, "broken", 'CMD ["/nothing/here"]')
        runner.add_image(reference, name="broken", pull=False)
        job = self._run(runner, kind="training", image="broken", train_data="pets")
        subprocess.run(["docker", "rmi", "-f", reference], check=True, capture_output=True)
        assert (job["state"], job["end_reason"]) in (("failed", "start_failed"), ("failed", "exit_code")), job["evidence"]
        assert "/nothing/here" in job["evidence"]["message"] + "".join(job["evidence"]["log_tail"])

    def _image_to_lose(self, runner: Runner, name: str, line: str = "LABEL other=yes") -> str:
        dockerfile = f"FROM {runner.get_image('probe')['digest']}\n{line}\n"
        reference = f"sluice/{name}:latest"
        subprocess.run(["docker", "build", "-q", "-t", reference, "-"], input=dockerfile, text=True, check=True, capture_output=True)
        return reference

    def test_an_engine_that_is_gone_before_the_start_is_named(self, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))
        monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        with Runner.open(replace(runner._installation.settings, start_timeout_s=2.0)) as elsewhere:
            seen = list(elsewhere.watch(job["id"]))
        assert [update for update in seen if update["progress"] and "waiting for the engine" in update["progress"]["message"]]
        assert (seen[-1]["state"], seen[-1]["end_reason"]) == ("failed", "engine_gone")
        assert "sluice doctor" in seen[-1]["next_step"]

"""The service on any engine: the queue, retries, limits, and everything that must survive a kill of it.

A subclass provides ``engine_name``. The service runs as a process of its own (``tests/conformance/dying_service.py``), which can be told where to
die; the tests speak to it through the database and the run directories, as a command would that embeds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import ConflictError
from contracts.job import JobSpec
from registry import jobs, leases
from runner.service import Runner
from runner.settings import Settings, environment_of, load_settings
from tests.conformance.main_job import PROBE, voc_folder

_PATIENCE_S = 60.0


class Receiver:
    """A web server that notes what it is told: pairs of delivery id and message."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append((self.headers["Sluice-Delivery"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        return str(answer.read().decode())


class ServiceTools:
    """A home with an image and data, a service that can be told where to die, and questions about what it left."""

    engine_name: str

    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setenv("SLUICE_GPUS", "fake")
        given = {
            "home": str(tmp_path / "home"),
            "engine": self.engine_name,
            "poll_interval_s": "0.1",
            "stop_grace_s": "1",
            "job_slots": "3",
            "retry_backoff_s": "0.2",
            "disk_floor_bytes": "0",
        }
        return load_settings(given)

    @pytest.fixture
    def runner(self, settings: Settings, tmp_path: Path) -> Iterator[Runner]:
        """Looks at the home from outside; it drives nothing."""
        with Runner.open(settings) as runner:
            runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6, "val": 3, "test": 4}))
            runner.build_image(PROBE, name="probe")
            yield runner

    @pytest.fixture
    def serve(self, settings: Settings, runner: Runner) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
        started: list[subprocess.Popen[bytes]] = []

        def start(die_at: str = "", **overrides: str) -> subprocess.Popen[bytes]:
            environment = {**os.environ, **environment_of(settings), **{f"SLUICE_{k.upper()}": v for k, v in overrides.items()}}
            command = [sys.executable, "-m", "tests.conformance.dying_service", die_at]
            with (settings.home / "serve.log").open("ab") as log:
                process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
            started.append(process)
            assert process.stdout is not None
            process.ready = process.stdout.readline().decode()  # type: ignore[attr-defined]
            assert process.ready or die_at, "the service ended before it was ready"  # type: ignore[attr-defined]
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for job in runner.list_jobs(states=("queued", "running"))["jobs"]:
            runner.cancel_job(job["id"])
        runner.sweep()

    def _submit(self, runner: Runner, **spec: Any) -> str:
        made = JobSpec(**{"kind": "training", "image": "probe", "train_data": "pets", **spec})
        return str(runner.submit(made)["id"])

    def _state(self, runner: Runner, job: str) -> str:
        with runner._installation.database.reading() as session:
            return str(jobs.get_job(session, job).state)

    def _wait(self, runner: Runner, job: str) -> dict[str, Any]:
        self._until(lambda: self._state(runner, job) not in ("queued", "running"))
        return runner.get_job(job)

    def _until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < end, "waited for a minute"
            time.sleep(0.1)

    def _leftovers(self, runner: Runner) -> tuple[list[str], list[str]]:
        """Names of containers and jobs of leases that are there."""
        parts = runner._installation
        with parts.database.reading() as session:
            held = [lease.job_id for lease in leases.list_open(session)]
        return [container.name for container in parts.engine.list_containers({"sluice.installation": parts.id})], held


class ServiceConformance(ServiceTools):
    """Subclass it with ``engine_name``."""

    # -------------------------------------------------------------------------------------------------------------- the queue

    def test_a_job_that_another_process_submitted_is_run(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve()
        job = self._submit(runner, name="first")
        ended = self._wait(runner, job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1), ended["evidence"]
        assert runner.get_model("first")["best_stage"] == "epoch_2"

    def test_jobs_beyond_the_slots_wait_and_say_why(self, runner: Runner, serve: Callable[..., Any]) -> None:
        ids = [self._submit(runner, parameters={"sleep_s": 3.0}) for _ in range(4)]
        serve()
        self._until(lambda: [self._state(runner, job) for job in ids].count("running") == 3)
        waiting = [runner.get_job(job) for job in ids if self._state(runner, job) == "queued"]
        assert [job["queue"]["position"] for job in waiting] == [1]
        assert "slot" in waiting[0]["queue"]["reason"]
        assert {self._wait(runner, job)["state"] for job in ids} == {"succeeded"}

    def test_priority_goes_first(self, runner: Runner, serve: Callable[..., Any]) -> None:
        ids = [self._submit(runner, priority=priority) for priority in (0, 5, -5, 9)]
        serve(job_slots="1")
        ended = sorted((self._wait(runner, job) for job in ids), key=lambda job: job["started_at"])
        assert [job["priority"] for job in ended] == [9, 5, 0, -5]

    def test_a_waiting_job_is_cancelled_at_once(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve(job_slots="1")
        first = self._submit(runner, parameters={"sleep_s": 30.0})
        self._until(lambda: self._state(runner, first) == "running")
        second = self._submit(runner)
        assert runner.cancel_job(second)["state"] == "cancelled"
        assert runner.cancel_job(first)["state"] == "cancelled"

    def test_nothing_starts_below_the_floor_of_the_disk(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve(disk_floor_bytes=str(1 << 60))
        job = self._submit(runner)
        time.sleep(2.0)
        assert self._state(runner, job) == "queued"
        assert runner.get_job(job)["started_at"] is None

    def test_the_same_key_gives_the_same_job_and_refuses_another_request(self, runner: Runner) -> None:
        spec = JobSpec(kind="training", image="probe", train_data="pets")
        ids = {runner.submit(spec, idempotency_key="k1")["id"] for _ in range(3)}
        assert len(ids) == 1
        with pytest.raises(ConflictError, match=ids.pop()):
            runner.submit(spec.model_copy(update={"seed": 2}), idempotency_key="k1")

    # ------------------------------------------------------------------------------------------------------ limits and retries

    def test_a_silent_image_is_stopped_and_named(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve()
        job = self._wait(runner, self._submit(runner, parameters={"sleep_s": 60.0}, silence_timeout_s=1.0))
        assert (job["end_reason"], job["attempt"]) == ("silent", 1)
        assert "1 s" in job["evidence"]["message"]

    def test_a_cause_that_is_tried_again_makes_a_new_attempt(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve(retry_reasons="silent")
        job = self._wait(runner, self._submit(runner, parameters={"sleep_s": 60.0}, silence_timeout_s=1.0, retries=1))
        assert (job["end_reason"], job["attempt"]) == ("silent", 2), job["evidence"]
        assert [(attempt["attempt"], attempt["end_reason"]) for attempt in job["attempts"]] == [(1, "silent")]
        assert (Path(job["run_dir"]) / "out-1").is_dir()
        assert runner.read_job_log(job["id"])[0].count(b"behaviour=ok") == 2

    def test_an_image_that_failed_is_not_tried_again(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve()
        job = self._wait(runner, self._submit(runner, parameters={"exit_code": 7}))
        assert (job["end_reason"], job["exit_code"], job["attempt"]) == ("exit_code", 7, 1)

    # ------------------------------------------------------------------------------------------------------------- its kills

    @pytest.mark.parametrize(
        "point",
        ["admitted", "stage", "pull", "create", "created", "start", "started", "follow", "collect", "finish", "ended", "removed"],
    )
    def test_a_service_killed_at_any_point_loses_nothing(self, runner: Runner, serve: Callable[..., Any], point: str) -> None:
        job = self._submit(runner, name="kept", parameters={"sleep_s": 0.3})
        assert serve(die_at=point).wait() == -signal.SIGKILL
        serve()
        ended = self._wait(runner, job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1), ended["evidence"]
        assert runner.read_job_log(job)[0].count(b"probe: done") == 1
        self._until(lambda: self._leftovers(runner) == ([], []))

    @pytest.mark.parametrize("point", ["retried", "removed"])
    def test_a_service_killed_while_it_tries_again_goes_on_with_that(self, runner: Runner, serve: Callable[..., Any], point: str) -> None:
        job = self._submit(runner, parameters={"sleep_s": 60.0}, silence_timeout_s=1.0, retries=1)
        assert serve(die_at=point, retry_reasons="silent").wait() == -signal.SIGKILL
        serve(retry_reasons="silent")
        ended = self._wait(runner, job)
        assert (ended["end_reason"], ended["attempt"]) == ("silent", 2)
        self._until(lambda: self._leftovers(runner) == ([], []))

    def test_a_container_without_a_job_is_removed(self, runner: Runner, serve: Callable[..., Any]) -> None:
        job = self._submit(runner, parameters={"sleep_s": 60.0})
        process = serve()
        self._until(lambda: self._state(runner, job) == "running" and self._leftovers(runner)[0] != [])
        process.kill()
        process.wait()
        with runner._installation.database.writing() as session:
            jobs.remove_job(session, job)
        serve()
        self._until(lambda: self._leftovers(runner)[0] == [])

    def test_a_second_service_says_who_has_the_home(self, runner: Runner, serve: Callable[..., Any], settings: Settings) -> None:
        first = serve()
        second = subprocess.run(
            [sys.executable, "-m", "tests.conformance.dying_service", ""],
            env={**os.environ, **environment_of(settings)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert f"process {first.pid}" in second.stderr

    def test_silence_from_before_a_kill_counts(self, runner: Runner, serve: Callable[..., Any]) -> None:
        service = serve()
        job = self._submit(runner, parameters={"sleep_s": 60.0}, silence_timeout_s=3600.0)
        self._until(lambda: b"behaviour=ok" in runner.read_job_log(job)[0])
        service.kill()
        service.wait()
        run_dir, two_hours_ago = Path(runner.get_job(job)["run_dir"]), time.time() - 7200.0
        for file in [run_dir / "container.log", *(run_dir / "out").glob("*")]:
            os.utime(file, (two_hours_ago, two_hours_ago))
        serve()
        assert self._wait(runner, job)["end_reason"] == "silent"

    def test_a_service_that_is_told_to_end_leaves_its_jobs_running(self, runner: Runner, serve: Callable[..., Any]) -> None:
        job = self._submit(runner, parameters={"sleep_s": 3.0})
        process = serve()
        self._until(lambda: self._state(runner, job) == "running" and self._leftovers(runner)[0] != [])
        process.terminate()
        assert process.wait() == 0
        assert self._state(runner, job) == "running"
        serve()
        assert self._wait(runner, job)["attempt"] == 1

    # ---------------------------------------------------------------------------------------------------------- beside the jobs

    def test_a_listener_is_told_each_event_once_over_a_kill(self, runner: Runner, serve: Callable[..., Any], settings: Settings) -> None:
        with Receiver() as receiver:
            (settings.home / "sluice.cfg").write_text(f"[sluice]\n[listener web]\nkind = webhook\nurl = {receiver.url}\nsecret = s3cret\n")
            job = self._submit(runner, parameters={"sleep_s": 0.3})
            assert serve(die_at="ended", listeners="web").wait() == -signal.SIGKILL
            serve(listeners="web")
            self._wait(runner, job)
            self._until(lambda: len(receiver.told) >= 2)
        told = {delivery: message["event"] for delivery, message in receiver.told}
        assert sorted(told.values()) == ["started", "succeeded"]
        assert {message["job"]["id"] for _, message in receiver.told} == {job}

    def test_what_a_job_used_is_kept_with_it(self, runner: Runner, serve: Callable[..., Any]) -> None:
        serve(usage_interval_s="0.5")
        job = self._wait(runner, self._submit(runner, parameters={"sleep_s": 5.0}))
        assert job["usage"] is not None
        self._until((Path(job["run_dir"]) / "usage.parquet").exists)
        table = pq.read_table(Path(job["run_dir"]) / "usage.parquet")
        assert table.num_rows >= 1
        assert max(value or 0 for value in table.column("memory_bytes").to_pylist()) > 0

    def test_metrics_tell_of_the_jobs(self, runner: Runner, serve: Callable[..., Any]) -> None:
        process = serve(metrics_listen="127.0.0.1:0")
        job = self._wait(runner, self._submit(runner))
        address = next(word for word in process.ready.split() if word.startswith("127.0.0.1:"))
        self._until(lambda: 'sluice_jobs_ended_total{end_reason="succeeded",kind="training"} 1.0' in _metrics(address))
        assert job["state"] == "succeeded"

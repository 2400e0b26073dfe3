"""The command line says the same whether a service does the work or the command itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.job import JobSpec
from runner.serve import Service
from runner.settings import Settings, environment_of
from tests.runner.rpc.conftest import HANGING, Sluice

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "arguments",
    [
        ("image", "show", "probe"),
        ("dataset", "list"),
        ("job", "list", "--json"),
        ("image", "show", "probe", "--json"),
        ("dataset", "show", "pets", "--json"),
        ("gpu", "list", "--json"),
    ],
)
def test_an_answer_is_the_same_to_the_letter(service: Service, sluice: Sluice, arguments: tuple[str, ...]) -> None:
    job = service.runner.submit(JobSpec(**HANGING))
    next(update for update in service.runner.watch(job["id"]) if update["step"] == "follow" and update["progress"])
    assert sluice(*arguments).stdout == sluice(*arguments, "--embed").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("job", "show", "none"), 3),
        (("image", "show", "prob", "--json"), 3),
        (("train", "probe", "--data", "pets:none", "--json"), 2),
        (("train", "probe", "--data", "pets", "--set", "sleep_s=long"), 2),
    ],
)
def test_an_error_is_the_same_to_the_letter(service: Service, sluice: Sluice, arguments: tuple[str, ...], code: int) -> None:
    asked, embedded = sluice(*arguments, code=code), sluice(*arguments, "--embed", code=code)
    assert (asked.stdout, asked.stderr) == (embedded.stdout, embedded.stderr)


def test_a_training_runs_in_the_service_and_its_output_is_read_from_it(service: Service, sluice: Sluice) -> None:
    job = json.loads(sluice("train", "probe", "--data", "pets", "--name", "first", "--json").stdout)
    assert (job["state"], job["user"]) == ("succeeded", service.runner.get_job(job["id"])["user"])
    assert "probe: done" in sluice("job", "logs", job["id"]).stdout
    assert sluice("job", "logs", "-f", job["id"]).stdout == sluice("job", "logs", job["id"], "--embed").stdout


def test_a_job_that_fails_is_told_with_its_reason_and_exit_status(service: Service, sluice: Sluice) -> None:
    answer = sluice("train", "probe", "--data", "pets", "--set", "exit_code=7", "--json", code=1)
    error = json.loads(answer.stdout)["error"]
    assert (error["code"], error["fields"]["job"]["exit_code"]) == ("job_failed", 7)


def test_a_detached_job_goes_on_in_the_service(service: Service, sluice: Sluice) -> None:
    job = json.loads(sluice("train", "probe", "--data", "pets", "--detach", "--json").stdout)
    assert json.loads(sluice("job", "wait", job["id"], "--json").stdout)["state"] == "succeeded"


# ------------------------------------------------------------------------------------------------- who does the work, and how


def _imported(settings: Settings, *arguments: str, **variables: str) -> set[str]:
    """The modules that a command imports."""
    code = "import sys; from runner.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code, *arguments]
    return set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr.split())


def test_without_a_service_nothing_of_grpc_is_imported(settings: Settings) -> None:
    for arguments in (("--help",), ("job", "list"), ("gpu", "list")):
        assert not {"grpc", "google.protobuf", "runner.client"} & _imported(settings, *arguments)


def test_with_a_service_nothing_that_only_a_runner_needs_is_imported(service: Service, settings: Settings) -> None:
    imported = _imported(settings, "job", "list")
    assert "grpc" in imported
    assert not {"runner.service", "sqlalchemy", "pyarrow", "runner.rpc"} & imported


@pytest.mark.parametrize(("arguments", "variables"), [(("--embed",), {}), ((), {"SLUICE_EMBED": "1"}), (("--engine", "docker"), {})])
def test_a_command_can_be_told_to_do_the_work_itself(
    service: Service, settings: Settings, arguments: tuple[str, ...], variables: dict[str, Any]
) -> None:
    assert "runner.service" in _imported(settings, "job", "list", *arguments, **variables)

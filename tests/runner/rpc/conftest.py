"""A real service in this process, on the process engine, with a data set and an image that keeps the contract."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.client import RemoteRunner, find_server
from runner.serve import Service
from runner.service import Runner
from runner.settings import Settings, load_settings
from tests.conformance.main_job import PROBE, voc_folder

#: Of a job that runs until it is told otherwise.
HANGING = {"kind": "training", "image": "probe", "train_data": "pets", "parameters": {"behaviour": "hang"}}


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What most tests begin with; its name is short, for sockets have short paths."""
    folder = tmp_path_factory.mktemp("p")
    with Runner.open(settings_of(folder / "h")) as runner:
        runner.import_dataset("pets", voc_folder(folder / "pets", {"train": 6, "val": 3, "test": 4}))
        runner.build_image(PROBE, name="probe")
        runner.link_images("probe", "probe")
    return folder / "h"


def settings_of(home: Path, **given: str) -> Settings:
    defaults = {"engine": "process", "gpus": "fake", "poll_interval_s": "0.1", "stop_grace_s": "1", "disk_floor_bytes": "0"}
    return load_settings({"home": str(home), **defaults, **given}, environ={})


@pytest.fixture
def settings(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a home of the test's own."""
    home = tmp_path_factory.mktemp("h") / "h"
    shutil.copytree(prepared_home, home)
    return settings_of(home)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with Service(settings) as service:
        yield service
        end_all_jobs(service.runner)


@pytest.fixture
def remote(service: Service, settings: Settings) -> Iterator[RemoteRunner]:
    found = find_server(settings)
    assert found is not None
    with found:
        yield found


@pytest.fixture(scope="module")
def busy(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that tests only look at, with a job of every kind, also one that failed and one that waits."""
    home = tmp_path_factory.mktemp("b") / "h"
    shutil.copytree(prepared_home, home)
    with Service(replace(settings_of(home), job_slots=1)) as service:
        yield service
        end_all_jobs(service.runner)


def end_all_jobs(runner: Runner) -> None:
    for job in runner.list_jobs(states=("queued", "running"))["jobs"]:
        runner.cancel_job(job["id"])

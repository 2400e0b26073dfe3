"""An address that is no use is refused before the service touches anything."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError, UnavailableError
from contracts.job import JobSpec
from registry import queued
from runner.serve import Service
from runner.service import Runner
from runner.settings import Settings, load_settings
from tests.conformance.main_job import PROBE, voc_folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "disk_floor_bytes": "0"})


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("name", ["listen_tcp", "metrics_listen"])
@pytest.mark.parametrize("value", ["nonsense", "127.0.0.1", "127.0.0.1:http", ":7443", "127.0.0.1:70000", "::1:7443"])
def test_what_is_no_address_is_refused_before_the_home_is_made(tmp_path: Path, name: str, value: str) -> None:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", name: value})
    with pytest.raises(ConfigurationError, match=f"the setting {name} is '{value}', not host:port"), Service(settings):
        pass
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("address", ["taken", "192.0.2.1:9464"])
def test_an_address_where_nobody_can_listen_is_refused_before_a_job_is_adopted(
    settings: Settings, taken: str, tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runner")
    with Runner.open(settings) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
        runner.build_image(PROBE, name="probe")
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))["id"]
        with runner._installation.database.writing() as session:
            queued.admit(session, job, 1)
        where = taken if address == "taken" else address
        refused = replace(settings, metrics_listen=where)
        with pytest.raises(ConfigurationError, match=f"cannot listen at {where}: (Address already in use|Cannot assign)"), Service(refused):
            pass
        assert runner.get_job(job)["step"] == "queued"
    assert "adopted" not in caplog.text


def test_a_home_whose_lock_cannot_be_written_is_refused_with_the_file(settings: Settings) -> None:
    (settings.home / "serve.lock").mkdir(parents=True)
    with pytest.raises(UnavailableError, match=r"home/serve\.lock cannot be written: Is a directory"), Service(settings):
        pass

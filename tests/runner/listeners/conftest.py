"""A database with a job, and a receiver of what is told about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.image import Kind
from registry import deliveries, jobs
from registry.database import Database
from registry.deliveries import DeliveryRecord
from registry.jobs import JobRecord
from runner.settings import Settings, load_settings
from tests.plugins.listeners.http_receiver import HttpReceiver

PLAN = {"model": None, "stage": None, "train": "cells@V001:train", "val": None}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "sluice.db") as database:
        yield database


@pytest.fixture
def job(database: Database) -> JobRecord:
    with database.writing() as session:
        return jobs.add_job(
            session, id="t4k2m9xq", name="cells-1", kind=Kind.TRAINING, spec={"parameters": {"key": "a-secret-parameter"}}, plan=PLAN,
            image_name="tinydet", image_reference="sluice/tinydet:1", image_digest="sha256:1", engine="docker", run_dir="runs/t4k2m9xq",
            user="ada", project="cells",
        )  # fmt: skip


@pytest.fixture
def record(database: Database, job: JobRecord) -> Callable[..., None]:
    """Records an event of the job for these listeners; each attempt is an event of its own."""

    def record(*listeners: str, event: str = "started", attempt: int = 1) -> None:
        with database.writing() as session:
            deliveries.add(session, job.id, attempt, event, listeners or ("hook",), {"event": event, "job": {"id": job.id}})

    return record


@pytest.fixture
def recorded(database: Database, job: JobRecord) -> Callable[[], list[DeliveryRecord]]:
    def read() -> list[DeliveryRecord]:
        with database.reading() as session:
            return deliveries.list_deliveries(session, job.id)

    return read


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    server = HttpReceiver()
    yield server
    server.close()


@pytest.fixture
def settings_with(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with these listeners: ``settings_with(hook={"url": ...})``."""

    def make(**listeners: dict[str, str]) -> Settings:
        settings = load_settings({"home": str(tmp_path)}, {})
        return replace(settings, listeners=" ".join(listeners), listener_options=listeners)

    return make


def wait_until(true: Callable[[], object]) -> None:
    """Until it is so; gives up after a minute, which no machine is too busy for."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)

"""What is left on engines beside the home's: a home may have images of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

import pytest

from contracts.errors import EngineGoneError
from contracts.image import Kind
from contracts.job import EndReason, Evidence
from plugins.engines.process import ProcessEngine
from registry import jobs, leases
from registry.leases import LeaseState
from runner.drivers import Drivers
from runner.installation import Installation
from runner.reconcile import Reconciler
from runner.settings import load_settings
from tests.conformance.engine import PROBE, Job, wait_until

JOB = "t0000001"  # as the labels of the conformance's containers have it, with attempt 1


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """With a second engine; the home's is another."""
    monkeypatch.setenv("SLUICE_FAKE_GPUS", "")
    installation = Installation(load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "stop_grace_s": "0"}))
    installation._engines["elsewhere"] = ProcessEngine(tmp_path / "elsewhere")
    yield installation
    installation.close()


@pytest.fixture
def container(installation: Installation, tmp_path: Path) -> Iterator[Job]:
    """One that runs on the second engine, with a GPU, for the first attempt of a job."""
    engine = installation.engine_named("elsewhere")
    image = engine.build_image(PROBE, "probe", {}, lambda line: None)
    container = Job(engine, image, tmp_path, installation.id).ask("hang", name=f"sluice-{JOB}-1", gpu_uuids=("GPU-fake-0",))
    container.start()
    columns = dict.fromkeys(("image_name", "image_reference", "image_digest", "run_dir"), "")
    with installation.database.writing() as session:
        jobs.add_job(session, id=JOB, kind=Kind.TRAINING, spec={}, plan={}, engine="elsewhere", **columns)
    yield container
    engine.stop(container.spec.name, 0)
    engine.remove(container.spec.name)


@pytest.fixture
def reconciler(installation: Installation) -> Iterator[Reconciler]:
    reconciler = Reconciler(installation, Drivers(installation, None))
    yield reconciler
    reconciler.close()


def state(installation: Installation, container: Job) -> str:
    return installation.engine_named("elsewhere").status(container.spec.name).state


def try_again(installation: Installation) -> None:
    with installation.database.writing() as session:
        jobs.begin_retry(session, JOB, EndReason.ENGINE_GONE, Evidence(), datetime.now(timezone.utc))


@pytest.mark.parametrize("way", ["in the service", "in a command"])
def test_a_former_attempt_is_removed_from_the_engine_that_it_is_on(
    installation: Installation, container: Job, reconciler: Reconciler, way: str
) -> None:
    try_again(installation)
    if way == "in a command":
        reconciler.clean()
        assert state(installation, container) == "gone"
    else:
        reconciler.look([])
        wait_until(lambda: state(installation, container) == "gone", "the end of the former attempt")


def test_the_present_attempt_is_left_alone(installation: Installation, container: Job, reconciler: Reconciler) -> None:
    reconciler.look([])
    reconciler._cleaners.shutdown(wait=True)
    assert state(installation, container) == "running"


def test_an_engine_that_no_job_is_on_any_more_is_not_asked(
    installation: Installation, container: Job, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again(installation)
    with installation.database.writing() as session:
        jobs.finish_job(session, JOB, EndReason.CANCELLED)
        jobs.set_columns(session, JOB, cleaned_at=datetime.now(timezone.utc))
    monkeypatch.setattr(installation.engine_named("elsewhere"), "list_containers", lambda _: pytest.fail("asked"))
    reconciler.look([])
    reconciler.clean()


def test_an_engine_that_is_away_is_asked_again(
    installation: Installation, container: Job, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_again(installation)
    with monkeypatch.context() as silence:
        silence.setattr(installation.engine_named("elsewhere"), "list_containers", _away)
        reconciler.look([])
        wait_until(lambda: not reconciler._asked, "an answer")
    reconciler._round_at = 0.0
    reconciler.look([])
    wait_until(lambda: state(installation, container) == "gone", "the end of the former attempt")


def _away(_: Mapping[str, str]) -> NoReturn:
    raise EngineGoneError("no answer")


def test_a_card_is_not_given_back_while_a_container_on_another_engine_has_it(
    installation: Installation, container: Job, reconciler: Reconciler
) -> None:
    pool = installation.gpus
    assert pool.list_gpus()[0]["containers"] == []  # no job that holds cards is on that engine, so it is not asked
    with installation.database.writing() as session:
        leases.take(session, installation.host, JOB, 1, ["GPU-fake-0"])
        leases.mark(session, JOB, 1, LeaseState.ACTIVE, container_id=container.spec.name)
    assert pool.list_gpus()[0]["containers"] == [container.spec.name]
    assert pool.reclaim(lambda *_: False) == []
    installation.engine_named("elsewhere").stop(container.spec.name, 0)
    assert pool.reclaim(lambda *_: False) == [JOB]

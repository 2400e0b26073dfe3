"""A23: a card that the engine could not give is suspect for a while, so that the next attempt gets another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.errors import StartError
from contracts.job import JobSpec
from registry import gpus
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

JOB = "t0000001"
HEALED = 301.0


def fail_to_start(host: Host, count: int = 2, **fields: Any) -> tuple[str, ...]:
    """An attempt whose start the engine refuses, and what it had leased."""
    uuids = host.pool.lease(JOB, 1, count)
    with pytest.raises(StartError, match="refused"), host.pool.confirm_start(JOB, 1, "created"):
        raise StartError("refused", **fields)
    assert host.pool.release(JOB, 1)
    return uuids


def suspects(host: Host) -> list[str]:
    return [card["uuid"] for card in host.pool.list_gpus() if card["health"] == "suspect"]


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"gpu": "unknown_device", "gpu_uuids": ["GPU-1"]}, ["GPU-1"]),
        ({"gpu": "cdi_stale", "gpu_uuids": ["GPU-0", "GPU-1"]}, ["GPU-0", "GPU-1"]),
        ({"gpu": "unknown_device"}, ["GPU-0", "GPU-1"]),
        ({"gpu": "unknown_device", "gpu_uuids": ["GPU-made-anew"]}, ["GPU-0", "GPU-1"]),
        ({"gpu": "toolkit_missing"}, []),
        ({}, []),
    ],
)
def test_the_cards_that_the_engine_names_are_suspect_and_all_of_the_lease_where_it_names_none(
    host: Host, fields: dict[str, Any], blamed: list[str]
) -> None:
    assert fail_to_start(host, **fields) == ("GPU-0", "GPU-1")
    assert suspects(host) == blamed
    assert set(host.pool.lease(JOB, 2, 2)).isdisjoint(blamed)


def test_the_list_and_the_events_say_why(host: Host) -> None:
    fail_to_start(host, 1, gpu="unknown_device", gpu_uuids=["GPU-0"])
    card = host.card("GPU-0")
    assert (card["state"], card["health"], card["holder"]) == ("drained", "suspect", "")
    assert card["reason"].startswith(f"job {JOB} could not start on it: the engine's toolkit does not know the card; tried again from ")
    (event,) = host.events("taint")
    assert (event["uuid"], event["job"], event["detail"]["text"]) == ("GPU-0", JOB, card["reason"])


@pytest.mark.parametrize("way", ["time", "driver", "boot", "operator"])
def test_a_suspect_heals(host: Host, way: str) -> None:
    host.look()
    fail_to_start(host, 1, gpu="unknown_device")
    host.later_s = HEALED - 10
    host.look()
    assert suspects(host) == ["GPU-0"]
    if way == "time":
        host.later_s = HEALED
    elif way == "operator":
        host.pool.clear("GPU-0")
    else:
        host.boot, host.world["driver"] = ("boot 2", "fake") if way == "boot" else ("boot 1", "new")
        host.write()
    host.look()
    assert host.states() == ["free"] * 4


def test_one_that_fails_again_is_suspect_for_as_long_again(host: Host) -> None:
    for host.later_s in (0.0, HEALED):
        host.look()
        host.pool.lease(JOB, int(host.later_s) + 1, 1)
        with pytest.raises(StartError), host.pool.confirm_start(JOB, int(host.later_s) + 1, "created"):
            raise StartError("refused", gpu="unknown_device")
        host.pool.release(JOB, int(host.later_s) + 1)
    host.later_s = 2 * HEALED - 10
    host.look()
    assert suspects(host) == ["GPU-0"]


def test_without_a_service_time_heals_too(host: Host) -> None:
    """Nobody takes the taint off the record then."""
    fail_to_start(host, 1, gpu="unknown_device")
    books = host.pool.read()
    assert [str(replace(books, read_at=books.read_at + later_s).card("GPU-0").state) for later_s in (0, HEALED)] == ["drained", "free"]
    with host.database.reading() as session:
        assert gpus.list_devices(session, host.name)[0].reasons


def test_a_start_that_fails_says_so_though_the_cards_cannot_be_read(host: Host) -> None:
    host.pool.lease(JOB, 1, 1)

    def start() -> None:
        (host.folder / "cards.json").write_text("no list of cards")
        raise StartError("refused", gpu="unknown_device")

    with pytest.raises(StartError, match="refused"), host.pool.confirm_start(JOB, 1, "created"):
        start()


def test_the_next_attempt_of_a_job_runs_on_another_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", "")  # then there are two idle cards
    values = {"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "poll_interval_s": "0.1", "retry_backoff_s": "0.1"}
    with Runner.open(load_settings({**values, "gpu_lock": str(tmp_path / "lock")})) as runner:
        engine = runner._installation.engine
        start = engine.start

        def refusing(container_id: str) -> None:
            if "GPU-fake-0" in (uuids := engine.status(container_id).gpu_uuids):
                raise StartError("refused", gpu="unknown_device", gpu_uuids=list(uuids))
            start(container_id)

        monkeypatch.setattr(engine, "start", refusing)
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
        runner.build_image(PROBE, name="probe")
        *_, job = runner.watch(runner.submit(JobSpec(kind="training", image="probe", train_data="pets", gpu_count=1, retries=1))["id"])
        former = [(attempt["end_reason"], attempt["gpus"]) for attempt in job["attempts"]]
        assert (job["state"], job["gpus"], former[0]) == ("succeeded", ["GPU-fake-1"], ("gpu_lost", ["GPU-fake-0"]))

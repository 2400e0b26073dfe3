"""The metrics as Prometheus reads them: over HTTP, parsed by its own parser."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import ConfigurationError
from contracts.image import Kind
from contracts.job import EndReason, Evidence, Step
from registry import deliveries, jobs
from registry.jobs import JobRecord
from registry.tables import now
from runner.installation import Installation
from runner.metrics import Metrics
from runner.settings import load_settings

Values = Callable[..., dict[tuple[str, ...], float]]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(replace(load_settings({"home": str(tmp_path)}, {}), listeners="team"))
    yield installation
    installation.close()


@pytest.fixture
def metrics(installation: Installation) -> Iterator[Metrics]:
    metrics = Metrics(installation, lambda: {"free": 2, "leased": 1})
    yield metrics
    metrics.stop()


@pytest.fixture
def add_job(installation: Installation) -> Callable[..., JobRecord]:
    def add(id: str = "t1", kind: Kind = Kind.TRAINING, **columns: Any) -> JobRecord:  # noqa: A002
        with installation.database.writing() as session:
            job = jobs.add_job(
                session, id=id, kind=kind, spec={}, plan={}, image_name="i", image_reference="i:1", image_digest="d", engine="docker",
                run_dir=f"runs/{id}", created_at=columns.pop("created_at", None),
            )  # fmt: skip
            return jobs.update_job(session, id, **columns) if columns else job

    return add


@pytest.fixture
def values(metrics: Metrics) -> Values:
    """The samples of one metric, by the values of its labels in the order of their names."""
    address = metrics.start("127.0.0.1:0")

    def read(name: str) -> dict[tuple[str, ...], float]:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {tuple(dict(sorted(s.labels.items())).values()): s.value for family in families for s in family.samples if s.name == name}

    return read


def test_unfinished_jobs_are_counted_by_state_and_kind_and_none_is_left_out_for_being_zero(
    add_job: Callable[..., JobRecord], values: Values
) -> None:
    add_job("t1")
    add_job("t2", step=Step.FOLLOW, admitted_at=now())
    add_job("t3", Kind.MINING, step=Step.FOLLOW, admitted_at=now())
    found = values("sluice_jobs")
    assert {labels: count for labels, count in found.items() if count} == {
        ("training", "queued"): 1,
        ("training", "running"): 1,
        ("mining", "running"): 1,
    }
    assert set(found) == {(str(kind), state) for kind in Kind for state in ("queued", "running")}


def test_the_queue_has_a_length_and_its_oldest_wait(add_job: Callable[..., JobRecord], values: Values) -> None:
    assert (values("sluice_queue_jobs"), values("sluice_queue_oldest_wait_seconds")) == ({(): 0}, {(): 0})
    add_job("t1", created_at=now() - timedelta(hours=1))
    add_job("t2", created_at=now() - timedelta(hours=2))
    add_job("t3", created_at=now() - timedelta(hours=9), admitted_at=now())
    assert values("sluice_queue_jobs") == {(): 2}
    assert 2 * 3600 <= values("sluice_queue_oldest_wait_seconds")[()] < 9 * 3600


def test_a_new_attempt_waits_since_its_back_off_is_over(
    installation: Installation, add_job: Callable[..., JobRecord], values: Values
) -> None:
    add_job("t1", created_at=now() - timedelta(days=9), admitted_at=now())
    with installation.database.writing() as session:
        jobs.begin_retry(session, "t1", EndReason.GPU_LOST, Evidence(), now() - timedelta(minutes=1))
    assert 60 <= values("sluice_queue_oldest_wait_seconds")[()] < 3600


def test_cards_disk_and_messages_are_read_at_each_scrape(
    installation: Installation, add_job: Callable[..., JobRecord], values: Values
) -> None:
    add_job("t1")
    assert values("sluice_deliveries_waiting") == {("team",): 0}
    with installation.database.writing() as session:
        deliveries.add(session, "t1", 1, "started", ("team",), {})
    assert values("sluice_deliveries_waiting") == {("team",): 1}
    assert values("sluice_gpus") == {("free",): 2, ("leased",): 1}
    assert values("sluice_home_free_bytes")[()] > 0
    assert values("sluice_home_floor_bytes") == {(): installation.settings.disk_floor_bytes}


def end(installation: Installation, job_id: str, reason: EndReason) -> None:
    with installation.database.writing() as session:
        jobs.finish_job(session, job_id, reason)


def test_an_end_is_counted_with_its_reason_wait_and_duration(
    installation: Installation, add_job: Callable[..., JobRecord], metrics: Metrics, values: Values
) -> None:
    submitted = now() - timedelta(hours=3)
    add_job("t1", created_at=submitted, admitted_at=submitted + timedelta(seconds=30), started_at=now() - timedelta(hours=2))
    end(installation, "t1", EndReason.OUT_OF_MEMORY)
    metrics.observe_end("t1")
    assert values("sluice_jobs_ended_total") == {("out_of_memory", "training"): 1}
    assert values("sluice_queue_wait_seconds_sum") == {("training",): 30}
    assert 7200 <= values("sluice_job_duration_seconds_sum")[("training",)] < 3 * 3600


def test_retries_are_counted_by_their_cause(
    installation: Installation, add_job: Callable[..., JobRecord], metrics: Metrics, values: Values
) -> None:
    add_job("t1")
    with installation.database.writing() as session:
        for reason in (EndReason.GPU_LOST, EndReason.ENGINE_GONE, EndReason.GPU_LOST):
            jobs.begin_retry(session, "t1", reason, Evidence(), now())
    end(installation, "t1", EndReason.SUCCEEDED)
    metrics.observe_end("t1")
    assert values("sluice_job_retries_total") == {("gpu_lost",): 2, ("engine_gone",): 1}


def test_a_job_that_is_unknown_or_has_not_ended_is_not_counted(add_job: Callable[..., JobRecord], metrics: Metrics, values: Values) -> None:
    add_job("t1")
    metrics.observe_end("t1")
    metrics.observe_end("t2")
    assert values("sluice_jobs_ended_total") == {}


def test_requests_and_loops_are_timed(metrics: Metrics, values: Values) -> None:
    metrics.observe_rpc("Submit", "OK", 0.02)
    metrics.observe_rpc("Submit", "NOT_FOUND", 0.01)
    with metrics.time_tick(), metrics.time_reconcile():
        pass
    assert values("sluice_rpc_calls_total") == {("OK", "Submit"): 1, ("NOT_FOUND", "Submit"): 1}
    assert values("sluice_rpc_duration_seconds_count") == {("Submit",): 2}
    assert values("sluice_scheduler_tick_seconds_count") == values("sluice_reconcile_seconds_count") == {(): 1}


def test_a_label_cannot_grow_without_end(metrics: Metrics, values: Values) -> None:
    for number in range(1000):
        metrics.observe_rpc(f"method {number}", f"code {number}", 0.0)
    assert len(values("sluice_rpc_calls_total")) <= 65 * 65
    assert len(values("sluice_rpc_duration_seconds_count")) == 65
    assert sum(values("sluice_rpc_calls_total").values()) == 1000


def test_what_runs_is_named(values: Values) -> None:
    ((python, version),) = values("sluice_build_info")
    assert version
    assert python.startswith("3.")
    assert values("process_resident_memory_bytes")


def test_a_part_that_fails_costs_only_itself(installation: Installation) -> None:
    def fail() -> dict[str, int]:
        raise RuntimeError("the driver is away")

    metrics = Metrics(installation, fail)
    found = {family.name for _ in range(2) for family in metrics.registry.collect() if family.samples}
    assert "sluice_gpus" not in found
    assert "sluice_jobs" in found
    assert metrics.registry.get_sample_value("sluice_scrape_errors_total", {"part": "gpus"}) >= 2  # type: ignore[operator]


def test_cards_that_hang_do_not_cost_the_scrape_and_are_not_asked_twice(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.metrics._GPUS_WITHIN_S", 0.05)
    released, asked = threading.Event(), []

    def hang() -> dict[str, int]:
        asked.append(1)
        released.wait(60)
        return {"free": 1}

    metrics = Metrics(installation, hang)
    for _ in range(3):
        assert "sluice_gpus" not in {family.name for family in metrics.registry.collect()}
    assert asked == [1]
    released.set()


def test_a_gpu_state_that_was_seen_is_zero_and_not_gone(installation: Installation) -> None:
    states = iter([{"free": 1}, {"lost": 1}])
    metrics = Metrics(installation, lambda: next(states))
    (free, lost) = (metrics.registry.get_sample_value, metrics.registry.get_sample_value)
    assert free("sluice_gpus", {"state": "free"}) == 1
    assert lost("sluice_gpus", {"state": "free"}) == 0


def test_it_stops_and_may_start_again(metrics: Metrics) -> None:
    address = metrics.start("127.0.0.1:0")
    metrics.stop()
    metrics.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{address}/metrics", timeout=60)
    assert metrics.start(address) == address


@pytest.mark.parametrize("listen", ["", "9464", ":9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "192.0.2.1:9464"])
def test_an_address_that_cannot_be_used_is_refused_with_its_value(metrics: Metrics, listen: str) -> None:
    with pytest.raises(ConfigurationError, match="metric") as caught:
        metrics.start(listen)
    assert caught.value.fields == {"setting": "metrics_listen", "address": listen}


def test_a_taken_port_is_refused(metrics: Metrics, installation: Installation) -> None:
    address = metrics.start("127.0.0.1:0")
    with pytest.raises(ConfigurationError, match=address):
        Metrics(installation, dict).start(address)


def test_it_listens_only_where_it_is_told(metrics: Metrics) -> None:
    port = metrics.start("127.0.0.2:0").rpartition(":")[2]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60)


def test_the_note_names_every_metric(metrics: Metrics) -> None:
    note = (Path(__file__).parents[3] / "docs" / "notes" / "telemetry.md").read_text(encoding="utf-8")
    names = [family.name for family in metrics.registry.collect() if family.name.startswith("sluice_")]
    assert len(names) > 15
    assert [name for name in names if f"`{name}" not in note] == []

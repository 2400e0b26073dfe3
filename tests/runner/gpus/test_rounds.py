"""The look at all cards: what is put on record, and which jobs it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import NoGpuError
from registry import gpus
from runner.gpus import GpuLost, LeaseHolder, Orphan, Violated
from tests.runner.gpus.world import container_of

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

JOB = "t0000001"


def test_devices_are_put_on_record_once(host: Host) -> None:
    assert host.look() == []
    assert [(event["uuid"], event["kind"]) for event in host.events("found")] == [(f"GPU-{index}", "found") for index in range(4)]
    count = len(host.events())
    assert host.look() == []
    assert len(host.events()) == count
    with host.database.reading() as session:
        device = gpus.list_devices(session, host.name)[1]
    assert (device.uuid, device.model, device.index, device.boot_id, device.driver) == ("GPU-1", "Fake GPU", 1, "boot 1", "fake")


def test_a_lost_card_ends_its_job_and_leaves_the_others_alone(hosts: type[Host]) -> None:
    """A7."""
    host = hosts(8)
    host.start(JOB, 1, pid=101)
    host.start("t0000002", 1, pid=102)
    host.look(JOB, "t0000002")
    host.set_card(0, error="GPU is lost", error_code="lost")
    assert host.look(JOB, "t0000002") == [GpuLost(JOB, 1, ("GPU-0",), "GPU-0 is lost: GPU is lost")]
    assert (host.card("GPU-0")["state"], host.card("GPU-0")["health"], host.card("GPU-0")["name"]) == ("lost", "lost", "Fake GPU")
    assert len(host.pool.lease("t0000003", 1, 6)) == 6


def test_a_card_that_was_lost_is_not_trusted_as_soon_as_it_answers(host: Host) -> None:
    host.look()
    host.set_card(0, error="GPU is lost", error_code="lost")
    host.look()
    host.set_card(0)
    assert host.states()[0] == "quarantined"
    host.look()
    host.later_s = 400
    host.look()
    assert host.states()[0] == "free"


def test_a_card_that_is_gone_ends_its_job_and_is_remembered_until_it_is_forgotten(host: Host) -> None:
    host.start(JOB)
    host.look(JOB)
    del host.cards[0]
    host.write()
    assert host.look(JOB) == [GpuLost(JOB, 1, ("GPU-0",), "GPU-0 is no longer there")]
    assert [event["job"] for event in host.events("missing")] == [JOB]
    host.claims = {}
    assert host.pool.release(JOB, 1)
    assert (host.card("GPU-0")["state"], host.card("GPU-0")["index"]) == ("missing", -1)
    assert host.pool.clear("GPU-0") == {"uuid": "GPU-0", "forgotten": True}
    assert [card["uuid"] for card in host.pool.list_gpus()] == ["GPU-1", "GPU-2", "GPU-3"]


def test_a_card_that_comes_back_is_known_again(host: Host) -> None:
    host.look()
    card = host.cards.pop(0)
    host.write()
    host.look()
    host.cards.insert(0, card)
    host.write()
    host.look()
    assert [event["uuid"] for event in host.events("returned")] == ["GPU-0"]
    assert host.states() == ["free"] * 4


def test_a_driver_that_shows_no_card_for_a_moment_ends_no_job(host: Host) -> None:
    host.start(JOB)
    host.look(JOB)
    host.cards = []
    host.write()
    assert host.look(JOB) == []
    host.later_s = 40
    (lost,) = host.look(JOB)
    assert isinstance(lost, GpuLost)
    assert lost.why == "GPU-0 is no longer there, nor any other GPU"


def test_a_slice_made_anew_under_a_job_ends_it_and_the_new_one_is_offered(host: Host) -> None:
    """A17."""
    old, *_ = host.cut(0, 2)
    assert host.start(JOB, 1, wish=profile()) == (old,)
    host.look(JOB)
    host.set_card(0, slices=[{"uuid": "MIG-new"}, {"uuid": "MIG-0-1"}])
    assert host.look(JOB) == [GpuLost(JOB, 1, (old,), f"MIG reconfigured: the slice {old} is no longer there")]
    host.claims = {}
    assert host.pool.release(JOB, 1)
    assert set(host.pool.lease("t0000002", 1, 2, profile())) == {"MIG-new", "MIG-0-1"}


def test_slices_that_were_taken_apart_are_forgotten_after_a_week(host: Host) -> None:
    host.cut(0, 2)
    host.look()
    host.set_card(0)
    host.look()
    assert [card["uuid"] for card in host.pool.list_gpus()] == [f"GPU-{index}" for index in range(4)]
    host.later_s = 8 * 86400
    host.look()
    with host.database.reading() as session:
        assert [device.kind for device in gpus.list_devices(session, host.name)] == ["gpu"] * 4


def test_a_job_that_uses_a_card_outside_its_lease_is_found(host: Host) -> None:
    """A26."""
    host.start(JOB)
    host.start("t0000002")
    host.put("GPU-1", host.run(101, container_of(JOB)))
    assert host.look(JOB, "t0000002") == [Violated(JOB, "GPU-1", 101)]
    (event,) = [event for event in host.events("state") if event["detail"]["to"] == "violated"]
    assert f"pid 101 python 101 of job {JOB}" in event["detail"]["reason"]
    host.put("GPU-1")
    assert host.look(JOB, "t0000002") == []


def test_a_running_container_without_a_lease_is_found_and_its_card_not_offered(host: Host) -> None:
    """A27: the database was restored from a backup."""
    host.add_job(JOB, container_id=container_of(JOB))
    host.give(f"sluice-{JOB}-1", "GPU-2")
    host.put("GPU-2", host.run(101, container_of(JOB)))
    assert host.look() == [Orphan(f"sluice-{JOB}-1", JOB)]
    assert host.states()[2] == "orphan"
    assert "GPU-2" not in host.pool.lease("t0000002", 1, 3)


def test_a_foreign_container_on_leased_cards_is_told_of(host: Host) -> None:
    """A27: `docker run --gpus 2` on leased cards."""
    host.start(JOB, 2)
    host.give("web", "0", "1")
    assert host.look(JOB) == []
    told = [(event["uuid"], event["job"], event["detail"]["to"]) for event in host.events("state") if event["job"]]
    assert told == [("GPU-0", JOB, "contended"), ("GPU-1", JOB, "contended")]


def test_every_change_of_state_is_told_once_whoever_looks(host: Host) -> None:
    host.look()
    host.put("GPU-3", host.run(4711))
    host.look()
    host.new_pool().reconcile([])
    host.put("GPU-3")
    host.look()
    changes = [(event["detail"]["from"], event["detail"]["to"]) for event in host.events("state") if event["uuid"] == "GPU-3"]
    assert changes == [("", "free"), ("free", "foreign"), ("foreign", "free")]


def test_memory_that_nobody_uses_is_told_of_after_two_minutes_once(host: Host) -> None:
    host.set_card(0, used_bytes=2**33)
    host.look()
    assert host.events("leftover") == []
    for host.later_s in (130, 140):
        host.look()
    assert [event["uuid"] for event in host.events("leftover")] == ["GPU-0"]


def test_an_attempt_that_has_ended_is_nobodys_loss(host: Host) -> None:
    host.start(JOB)
    host.set_card(0, error="GPU is lost", error_code="lost")
    assert host.look() == []
    assert host.pool.reconcile([LeaseHolder(JOB, 1, ended=True), LeaseHolder(JOB, 2)]) == []


def test_the_cards_are_looked_at_though_the_engine_is_away(host: Host) -> None:
    host.start(JOB)
    host.engine_away = True
    host.set_card(0, error="GPU is lost", error_code="lost")
    assert [found.job_id for found in host.look(JOB) if isinstance(found, GpuLost)] == [JOB]


def test_events_are_kept_for_three_months(host: Host) -> None:
    host.look()
    host.later_s = 100 * 86400
    host.look()
    assert host.events("found") == []


def profile() -> object:
    from contracts.job import GpuWish

    return GpuWish(mig_profile="1g.10gb")


@pytest.mark.parametrize("values", [{"mig_pending": True, "mig_enabled": False}, {"compute_mode": "prohibited"}])
def test_a_card_that_waits_for_its_mode_or_is_prohibited_is_not_given(host: Host, values: dict[str, object]) -> None:
    """A18."""
    host.set_card(0, **values)
    assert "GPU-0" not in host.pool.lease(JOB, 1, 3)
    with pytest.raises(NoGpuError):
        host.pool.lease("t0000002", 1, 1)

"""Leasing, releasing, and what happens when somebody is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConflictError, EngineGoneError, GpuSourceError, NoGpuError
from registry import leases
from registry.leases import LeaseState

if TYPE_CHECKING:
    from tests.runner.gpus.conftest import Host


def test_the_lowest_free_cards_are_leased_until_released(host: Host) -> None:
    assert host.pool.lease("t0000001", 1, 2) == ("GPU-0", "GPU-1")
    assert host.pool.lease("t0000002", 1, 1) == ("GPU-2",)
    host.pool.release("t0000001", 1)
    assert host.pool.lease("t0000003", 1, 3) == ("GPU-0", "GPU-1", "GPU-3")


def test_a_job_without_gpus_takes_none_and_no_book_is_opened(host: Host) -> None:
    host.cards = [{"nonsense": True}]
    host.write()
    assert host.pool.lease("t0000001", 1, 0) == ()


def test_leasing_again_gives_the_same_cards_even_when_no_book_can_be_read(host: Host) -> None:
    first = host.pool.lease("t0000001", 1, 2)
    host.set_card(0, processes=[{"pid": 4194000}])
    host.engine_away = True
    assert host.pool.lease("t0000001", 1, 2) == first


def test_an_attempt_cannot_change_how_many_it_holds(host: Host) -> None:
    host.pool.lease("t0000001", 1, 2)
    with pytest.raises(ConflictError, match="holds 2 GPUs"):
        host.pool.lease("t0000001", 1, 3)


def test_releasing_may_be_repeated_and_an_attempt_may_lease_anew(host: Host) -> None:
    host.pool.lease("t0000001", 1, 4)
    host.pool.release("t0000001", 1)
    host.pool.release("t0000001", 1)
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-0",)


def test_more_cards_than_the_host_has_are_refused_with_the_number(host: Host) -> None:
    with pytest.raises(NoGpuError, match=r"5 GPUs are asked for, host-\d+ has 4"):
        host.pool.lease("t0000001", 1, 5)


def test_too_few_free_cards_are_refused_naming_who_holds_each_other(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.set_card(1, processes=[{"pid": 4194000, "command": "python x.py"}])
    host.set_card(2, error="it fell off the bus")
    with pytest.raises(NoGpuError) as caught:
        host.pool.lease("t0000002", 1, 2)
    for part in (
        "1 of 4 free",
        "gpu0 leased (t0000001)",
        "gpu1 foreign (pid 4194000 python x.py)",
        "gpu2 lost (the card cannot be used: it fell",
    ):
        assert part in caught.value.message
    assert caught.value.fields["busy"]["GPU-0"] == "t0000001"


def test_only_free_cards_are_ever_leased(host: Host) -> None:
    host.set_card(0, used_bytes=2 * 1024**3)
    host.set_card(1, processes=[{"pid": 4194000}])
    host.claims = {"GPU-2": "web"}
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-3",)


def test_a_container_that_was_given_all_cards_leaves_none(host: Host) -> None:
    host.claims = {"*": "web"}
    with pytest.raises(NoGpuError, match=r"gpu3 claimed \(web\)"):
        host.pool.lease("t0000001", 1, 1)


def test_nothing_new_is_leased_while_the_engine_is_away(host: Host) -> None:
    host.engine_away = True
    with pytest.raises(EngineGoneError):
        host.pool.lease("t0000001", 1, 1)
    host.engine_away = False
    assert host.states() == ["free"] * 4


def test_a_card_taken_from_outside_between_the_two_looks_is_given_up_for_another(host: Host) -> None:
    host.before_reading = [lambda: None, lambda: host.claims.update({"GPU-0": "web"})]
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-1",)
    assert host.states() == ["claimed", "leased", "free", "free"]


def test_a_second_look_that_fails_leaves_no_lease(host: Host) -> None:
    host.before_reading = [lambda: None, lambda: setattr(host, "engine_away", True)]
    with pytest.raises(EngineGoneError):
        host.pool.lease("t0000001", 1, 1)
    host.engine_away = False
    assert host.states() == ["free"] * 4


def test_a_lease_whose_runner_was_killed_before_the_second_look_is_looked_at_when_it_comes_back(host: Host) -> None:
    with host.database.writing() as session:
        leases.take(session, host.name, "t0000001", 1, ["GPU-0"])
    host.set_card(0, processes=[{"pid": 4194000}])
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-1",)


def test_a_leased_card_is_marked_as_looked_at_twice_and_with_the_boot(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    with host.database.reading() as session:
        (lease,) = leases.list_open(session, host.name)
    assert lease.state is LeaseState.STARTING
    assert len(lease.boot_id) == 36


def test_an_unreadable_source_leases_nothing(host: Host) -> None:
    host.cards = [{"nonsense": True}]
    host.write()
    with pytest.raises(GpuSourceError):
        host.pool.lease("t0000001", 1, 1)
    with pytest.raises(GpuSourceError):
        host.pool.total()


# -------------------------------------------------------------------------------------------------------------- after a crash


def test_leases_of_jobs_that_have_ended_are_reclaimed_and_others_stay(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.pool.lease("t0000002", 1, 1)
    assert host.pool.reclaim(lambda job_id: job_id == "t0000002") == ["t0000001"]
    assert host.states() == ["free", "leased", "free", "free"]
    assert host.pool.reclaim(lambda job_id: True) == []


def test_a_lease_whose_container_still_runs_is_not_reclaimed(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.claims = {"GPU-0": "sluice-t0000001-1"}
    assert host.pool.reclaim(lambda job_id: False) == []
    host.claims = {}
    assert host.pool.reclaim(lambda job_id: False) == ["t0000001"]


def test_nothing_is_reclaimed_while_the_engine_is_away(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.engine_away = True
    with pytest.raises(EngineGoneError):
        host.pool.reclaim(lambda job_id: False)
    assert host.states()[0] == "leased"


def test_why_a_lease_was_reclaimed_is_noted_a_reboot_too(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    with host.database.writing() as session:
        leases.take(session, host.name, "t0000002", 1, ["GPU-1"], boot_id="an earlier boot")
    host.pool.reclaim(lambda job_id: False)
    with host.database.reading() as session:
        notes = [lease.note for job_id in ("t0000001", "t0000002") if (lease := leases.find_lease(session, job_id, 1))]
    assert notes == ["the job had ended", "the host was rebooted"]

"""Leasing cards, and what happens when somebody is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConflictError, EngineGoneError, GpuSourceError, NoGpuError
from registry import leases
from registry.leases import LeaseState

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

GIB = 1024**3


def test_free_cards_are_leased_until_released(host: Host) -> None:
    assert host.pool.lease("t0000001", 1, 2) == ("GPU-0", "GPU-1")
    assert host.pool.lease("t0000002", 1, 1) == ("GPU-2",)
    assert host.pool.release("t0000001", 1)
    assert host.pool.lease("t0000003", 1, 3) == ("GPU-0", "GPU-1", "GPU-3")


def test_linked_cards_are_leased_together(host: Host) -> None:
    host.world["pairs"] = [{"uuids": ["GPU-1", "GPU-3"], "nvlinks": 4}]
    host.write()
    assert host.pool.lease("t0000001", 1, 2) == ("GPU-1", "GPU-3")


def test_a_job_without_gpus_takes_none_and_no_book_is_opened(host: Host) -> None:
    host.cards = [{"nonsense": True}]
    host.write()
    assert host.pool.lease("t0000001", 1, 0) == ()


def test_leasing_again_gives_the_same_cards_even_when_no_book_can_be_read(host: Host) -> None:
    first = host.pool.lease("t0000001", 1, 2)
    host.put("GPU-0", host.run(101))
    host.engine_away = True
    assert host.pool.lease("t0000001", 1, 2) == first


def test_an_attempt_cannot_change_how_many_it_holds(host: Host) -> None:
    host.pool.lease("t0000001", 1, 2)
    with pytest.raises(ConflictError, match="holds 2 GPUs"):
        host.pool.lease("t0000001", 1, 3)


def test_releasing_may_be_repeated_and_an_attempt_may_lease_anew(host: Host) -> None:
    host.pool.lease("t0000001", 1, 4)
    assert host.pool.release("t0000001", 1)
    assert host.pool.release("t0000001", 1)
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-0",)


def test_too_few_free_cards_are_refused_naming_who_holds_each_other(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.put("GPU-1", host.run(4711))
    host.set_card(2, error="it fell off the bus")
    with pytest.raises(NoGpuError) as caught:
        host.pool.lease("t0000002", 1, 2)
    for part in ("1 of 4 free", "gpu0 leased t0000001", "gpu1 foreign pid 4711 python 4711", "gpu2 lost (the card cannot be used: it fell"):
        assert part in caught.value.message
    assert caught.value.fields["busy"]["GPU-0"] == "t0000001"


def test_a_foreign_container_keeps_its_card_and_wide_jobs_wait_for_it(hosts: type[Host]) -> None:
    """A4, and why a job of all cards waits."""
    host = hosts(8)
    host.give("web", "GPU-2")
    host.put("GPU-2", host.run(4711, "cd" * 32))
    with pytest.raises(NoGpuError, match="7 of 8 free: gpu2 foreign pid 4711 python"):
        host.pool.lease("t0000008", 1, 8)
    assert "GPU-2" not in host.pool.lease("t0000007", 1, 7)
    assert host.pool.release("t0000007", 1)
    host.claims = {}
    host.end(4711)
    host.put("GPU-2")
    assert len(host.pool.lease("t0000008", 1, 8)) == 8


def test_a_card_that_a_foreign_container_was_given_is_never_chosen_though_it_is_idle(hosts: type[Host]) -> None:
    """A5."""
    host = hosts(8)
    host.give("web", "6")
    taken = {uuid for number in range(7) for uuid in host.pool.lease(f"t{number:07}", 1, 1)}
    assert "GPU-6" not in taken
    with pytest.raises(NoGpuError, match="gpu6 claimed web"):
        host.pool.lease("t0000008", 1, 1)


def test_cards_are_known_by_uuid_when_their_order_changes(host: Host) -> None:
    """A9."""
    (uuid,) = host.pool.lease("t0000001", 1, 1)
    host.cards.reverse()
    host.write()
    listed = host.pool.list_gpus()
    assert [(card["uuid"], card["index"]) for card in listed if card["job"] == "t0000001"] == [(uuid, 3)]
    assert host.pool.lease("t0000001", 1, 1) == (uuid,)
    assert uuid not in host.pool.lease("t0000002", 1, 3)


def test_a_card_that_this_user_may_not_read_is_left_alone(hosts: type[Host]) -> None:
    """A10."""
    host = hosts(8)
    host.set_card(3, error="no permission", error_code="no_permission")
    assert "GPU-3" not in host.pool.lease("t0000001", 1, 7)
    assert (host.card("GPU-3")["state"], host.card("GPU-3")["health"]) == ("unknown", "unmonitored")


def test_a_container_that_was_given_all_cards_leaves_none(host: Host) -> None:
    host.give("web", "*")
    with pytest.raises(NoGpuError, match="gpu3 claimed web"):
        host.pool.lease("t0000001", 1, 1)


def test_nothing_new_is_leased_while_the_engine_is_away(host: Host) -> None:
    host.engine_away = True
    with pytest.raises(EngineGoneError):
        host.pool.lease("t0000001", 1, 1)
    host.engine_away = False
    assert host.states() == ["free"] * 4


def test_nothing_is_leased_while_the_cards_cannot_be_read(host: Host) -> None:
    host.cards = [{"nonsense": True}]
    host.write()
    with pytest.raises(GpuSourceError):
        host.pool.lease("t0000001", 1, 1)


def test_a_card_taken_from_outside_between_the_two_looks_is_given_up_for_another(host: Host) -> None:
    host.before_reading = [lambda: None, lambda: host.give("web", "GPU-0")]
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-1",)
    assert host.states() == ["claimed", "leased", "free", "free"]
    assert [(event["uuid"], event["detail"]["holder"]) for event in host.events("contended")] == [("GPU-0", "web")]


def test_a_card_leased_by_another_runner_between_choice_and_commit_is_not_taken_twice(host: Host) -> None:
    def rival() -> None:
        with host.database.writing() as session:
            leases.take(session, host.name, "t0000009", 1, ["GPU-0"])

    host.before_reading = [rival]
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-1",)


def test_books_of_a_former_moment_do_not_mislead(host: Host) -> None:
    """The scheduler reads once for a whole tick."""
    books = host.pool.read()
    assert host.pool.lease("t0000001", 1, 1, books=books) == ("GPU-0",)
    assert host.pool.lease("t0000002", 1, 1, books=books) == ("GPU-1",)
    host.put("GPU-2", host.run(4711))
    assert host.pool.lease("t0000003", 1, 1, books=books) == ("GPU-3",)


def test_a_second_look_that_fails_leaves_no_lease(host: Host) -> None:
    host.before_reading = [lambda: None, lambda: setattr(host, "engine_away", True)]
    with pytest.raises(EngineGoneError):
        host.pool.lease("t0000001", 1, 1)
    host.engine_away = False
    assert host.states() == ["free"] * 4


def test_a_lease_whose_runner_was_killed_before_the_second_look_is_looked_at_when_it_comes_back(host: Host) -> None:
    with host.database.writing() as session:
        leases.take(session, host.name, "t0000001", 1, ["GPU-0"])
    host.put("GPU-0", host.run(4711))
    assert host.pool.lease("t0000001", 1, 1) == ("GPU-1",)


def test_a_leased_card_is_marked_as_looked_at_twice_and_with_the_boot(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    lease = host.lease_of("t0000001")
    assert (lease.state, lease.boot_id, lease.container_id) == (LeaseState.STARTING, "boot 1", None)

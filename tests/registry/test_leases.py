"""GPU leases: all or nothing, never two on one card."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NoGpuError, NotFoundError, RequestError
from registry.database import Database
from registry.jobs import JobRecord, update_job
from registry.leases import LeaseState, Share, containers, find_lease, list_open, mark, owners, release, take
from registry.tables import GpuSlotRow

CARDS = [f"GPU-{n}" for n in range(8)]


def held_cards(session: Session) -> list[str]:
    return list(session.scalars(select(GpuSlotRow.uuid).where(GpuSlotRow.lease_id.is_not(None)).order_by(GpuSlotRow.uuid)))


def test_a_lease_is_read_as_it_was_taken(database: Database) -> None:
    with database.writing() as session:
        taken = take(session, "host", "t1", 1, ["GPU-2", "GPU-1"], boot_id="boot")
    with database.reading() as session:
        assert list_open(session, "host") == [taken] == list_open(session)
        assert list_open(session, "elsewhere") == []
    assert (taken.uuids, taken.state, taken.boot_id) == (("GPU-2", "GPU-1"), LeaseState.RESERVED, "boot")


def test_taking_is_all_or_nothing_even_when_the_caller_goes_on(database: Database) -> None:
    with database.writing() as session:
        take(session, "host", "t1", 1, ["GPU-2"])
        with pytest.raises(NoGpuError):
            take(session, "host", "t2", 1, ["GPU-1", "GPU-2", "GPU-3"])
    with database.reading() as session:
        assert held_cards(session) == ["GPU-2"]
        assert [lease.job_id for lease in list_open(session)] == ["t1"]
        assert find_lease(session, "t2", 1) is None


def test_a_refusal_names_who_holds_what(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1", "GPU-2"])
    take(session, "host", "t2", 1, ["GPU-3"])
    with pytest.raises(
        NoGpuError, match="3 of the 4 cards asked for on host are held: GPU-1 by job t1, GPU-2 by job t1, GPU-3 by job t2"
    ) as caught:
        take(session, "host", "t3", 1, ["GPU-0", "GPU-1", "GPU-2", "GPU-3"])
    assert caught.value.fields["held"] == {"GPU-1": "t1", "GPU-2": "t1", "GPU-3": "t2"}


def test_the_same_uuid_on_another_host_is_another_card(session: Session) -> None:
    take(session, "one", "t1", 1, ["GPU-1"])
    assert take(session, "two", "t2", 1, ["GPU-1"]).host == "two"


def test_taking_again_for_the_same_attempt_gives_the_same_lease(session: Session) -> None:
    first = take(session, "host", "t1", 1, ["GPU-1", "GPU-2"])
    assert take(session, "host", "t1", 1, ["GPU-2", "GPU-1"]) == first
    with pytest.raises(ConflictError, match="holds other cards: GPU-1, GPU-2"):
        take(session, "host", "t1", 1, ["GPU-3"])


def test_another_attempt_does_not_take_over_the_cards_of_the_first(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    with pytest.raises(NoGpuError):
        take(session, "host", "t1", 2, ["GPU-1"])


def test_released_cards_are_free_and_releasing_again_does_nothing(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    release(session, "t1", 1, note="seen to end")
    take(session, "host", "t2", 1, ["GPU-1"])
    release(session, "t1", 1)
    release(session, "never had any", 1)
    assert held_cards(session) == ["GPU-1"]
    ended = find_lease(session, "t1", 1)
    assert ended is not None
    assert (ended.state, ended.uuids, ended.note) == (LeaseState.RELEASED, ("GPU-1",), "seen to end")


def test_an_attempt_that_gave_its_cards_back_may_take_others(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    release(session, "t1", 1)
    assert take(session, "host", "t1", 1, ["GPU-2"]).uuids == ("GPU-2",)
    assert held_cards(session) == ["GPU-2"]


@pytest.mark.parametrize("state", [state for state in LeaseState if state is not LeaseState.RELEASED])
def test_a_lease_holds_its_cards_in_every_state_but_released(session: Session, state: LeaseState) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    marked = mark(session, "t1", 1, state, container_id="abc", note="why")
    assert (marked.state, marked.container_id, marked.note) == (state, "abc", "why")
    assert [lease.job_id for lease in list_open(session, "host")] == ["t1"]
    with pytest.raises(NoGpuError):
        take(session, "host", "t2", 1, ["GPU-1"])


def test_a_lease_is_not_marked_released_and_a_released_one_not_marked(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    with pytest.raises(RequestError, match=r"release\(\)"):
        mark(session, "t1", 1, LeaseState.RELEASED)
    release(session, "t1", 1)
    with pytest.raises(NotFoundError, match="holds no GPUs"):
        mark(session, "t1", 1, LeaseState.ACTIVE)


@pytest.mark.parametrize("uuids", [[], ["GPU-1", "GPU-1"], [""]])
def test_a_lease_names_each_card_once(session: Session, uuids: list[str]) -> None:
    with pytest.raises(RequestError, match="at least one card"):
        take(session, "host", "t1", 1, uuids)


# ----------------------------------------------------------------------------------------------------------------- sharing


def share(declared: int = 10, slots: int = 3, room: int = 100) -> Share:
    return Share(declared, dict.fromkeys(CARDS, slots), dict.fromkeys(CARDS, room))


def test_shared_leases_take_a_slot_each_until_there_are_none(session: Session) -> None:
    taken = [take(session, "host", f"t{number}", 1, ["GPU-1"], share=share()) for number in range(3)]
    assert [lease.shared_bytes for lease in taken] == [10, 10, 10]
    with pytest.raises(NoGpuError, match="GPU-1 by job t0, t1, t2"):
        take(session, "host", "t9", 1, ["GPU-1"], share=share())
    release(session, "t1", 1)
    assert take(session, "host", "t9", 1, ["GPU-1"], share=share()).uuids == ("GPU-1",)


def test_no_more_memory_is_declared_on_a_card_than_there_is_room_for(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"], share=share(60))
    with pytest.raises(NoGpuError):
        take(session, "host", "t2", 1, ["GPU-1"], share=share(41))
    take(session, "host", "t3", 1, ["GPU-1"], share=share(40))


def test_a_whole_card_and_a_shared_one_exclude_each_other(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    take(session, "host", "t2", 1, ["GPU-2"], share=share())
    with pytest.raises(NoGpuError, match="GPU-1 by job t1"):
        take(session, "host", "t3", 1, ["GPU-1"], share=share())
    with pytest.raises(NoGpuError, match="GPU-2 by job t2"):
        take(session, "host", "t3", 1, ["GPU-2"])


def test_a_whole_card_takes_the_slots_it_once_had_too(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"], share=share(slots=3))
    release(session, "t1", 1)
    take(session, "host", "t2", 1, ["GPU-1"])
    assert held_cards(session) == ["GPU-1"] * 3


def test_a_card_with_fewer_slots_than_before_gives_none_beyond_them(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"], share=share(slots=3))
    with pytest.raises(NoGpuError):
        take(session, "host", "t2", 1, ["GPU-1"], share=share(slots=1))


def test_sharing_several_cards_is_all_or_nothing(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-2"])
    with pytest.raises(NoGpuError):
        take(session, "host", "t2", 1, ["GPU-1", "GPU-2"], share=share())
    assert held_cards(session) == ["GPU-2"]


def test_a_lease_is_released_only_in_the_states_that_are_named(session: Session) -> None:
    take(session, "host", "t1", 1, ["GPU-1"])
    release(session, "t1", 1, states=(LeaseState.RELEASING, LeaseState.STUCK))
    assert held_cards(session) == ["GPU-1"]
    mark(session, "t1", 1, LeaseState.RELEASING)
    release(session, "t1", 1, states=(LeaseState.RELEASING, LeaseState.STUCK))
    assert held_cards(session) == []


def test_who_has_a_job_and_in_which_container_is_known_of_those_on_record(session: Session, new_job: Callable[..., JobRecord]) -> None:
    new_job(session, "t1", user="ann", project="cells")
    update_job(session, "t1", container_id="abc")
    new_job(session, "t2")
    assert owners(session, ["t1", "t9"]) == {"t1": ("ann", "cells")}
    assert containers(session, ["t1", "t2", "t9"]) == {"t1": (1, "abc"), "t2": (1, "")}
    assert owners(session, []) == containers(session, []) == {}


# ------------------------------------------------------------------------------------------------------- several programs


def hammer(url: str, program: int, answers: multiprocessing.Queue) -> None:
    """Takes, checks and releases; every card it holds it marks in a table of its own, whose key refuses a second holder."""
    chance, leases, refusals = random.Random(program), 0, 0
    with Database.open(url) as database:
        for n in range(40):
            cards = chance.sample(CARDS, chance.choice((1, 1, 2, 4)))
            job = f"t{program}-{n}"
            try:
                with database.writing() as session:
                    take(session, "host", job, 1, cards)
            except NoGpuError:
                refusals += 1
                continue
            with database.writing() as session:
                for card in cards:
                    session.execute(text("INSERT INTO in_use (card) VALUES (:card)"), {"card": card})
            with database.writing() as session:
                for card in cards:
                    session.execute(text("DELETE FROM in_use WHERE card = :card"), {"card": card})
            with database.writing() as session:
                release(session, job, 1)
            leases += 1
    answers.put((leases, refusals))


@pytest.fixture
def in_use(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("CREATE TABLE in_use (card VARCHAR(50) PRIMARY KEY)"))


def test_eight_programs_never_hold_the_same_card(url: str, database: Database, in_use: None) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    programs = [context.Process(target=hammer, args=(url, n, answers)) for n in range(8)]
    for program in programs:
        program.start()
    counts = [answers.get(timeout=120) for _ in programs]
    for program in programs:
        program.join(60)
    assert [program.exitcode for program in programs] == [0] * 8
    assert all(sum(column) > 0 for column in zip(*counts, strict=True)), f"leases and refusals: {counts}"
    with database.reading() as session:
        assert (held_cards(session), list_open(session)) == ([], [])

"""The outbox: each event once per listener, sent until it arrived or a day is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete
from sqlalchemy.orm import Session

from registry import deliveries
from registry.database import Database
from registry.deliveries import DeliveryRecord
from registry.jobs import JobRecord
from registry.tables import JobRow, now

HOLD_S = 60.0


@pytest.fixture
def job(session: Session, new_job: Callable[..., JobRecord]) -> JobRecord:
    return new_job(session)


def added(session: Session, job: JobRecord, event: str = "succeeded", *listeners: str) -> DeliveryRecord:
    deliveries.add(session, job.id, 1, event, listeners or ("hook",), {"event": event})
    return deliveries.list_deliveries(session, job.id)[-1]


def claimed(session: Session, moment: datetime | None = None) -> DeliveryRecord:
    delivery = deliveries.claim(session, "hook", moment or now(), HOLD_S)
    assert delivery is not None
    return delivery


def test_an_event_is_due_at_once_for_each_listener(session: Session, job: JobRecord) -> None:
    added(session, job, "started", "mail", "hook")
    found = deliveries.due(session, now())
    assert [(d.listener, d.event, d.message, d.tries, d.state) for d in found] == [
        ("hook", "started", {"event": "started"}, 0, "waiting"),
        ("mail", "started", {"event": "started"}, 0, "waiting"),
    ]


def test_the_same_event_is_added_once_and_keeps_its_first_message(session: Session, job: JobRecord) -> None:
    first = added(session, job)
    deliveries.add(session, job.id, 1, "succeeded", ("hook",), {"event": "another"})
    assert deliveries.list_deliveries(session, job.id) == [first]


def test_an_event_that_arrived_is_not_sent_again_when_it_is_added_again(session: Session, job: JobRecord) -> None:
    added(session, job)
    deliveries.arrived(session, claimed(session), now())
    added(session, job)
    assert deliveries.due(session, now() + timedelta(days=2)) == []


def test_another_attempt_and_another_event_are_deliveries_of_their_own(session: Session, job: JobRecord) -> None:
    for attempt, event in ((1, "started"), (1, "retried"), (2, "started")):
        deliveries.add(session, job.id, attempt, event, ("hook",), {})
    ids = [delivery.delivery_id for delivery in deliveries.list_deliveries(session, job.id)]
    assert ids == [f"{job.id}.1.started.hook", f"{job.id}.1.retried.hook", f"{job.id}.2.started.hook"]


def test_no_listener_means_no_delivery(session: Session, job: JobRecord) -> None:
    deliveries.add(session, job.id, 1, "started", (), {})
    assert deliveries.list_deliveries(session, job.id) == []


def test_an_event_that_is_rolled_back_tells_nobody(database: Database, new_job: Callable[..., JobRecord]) -> None:
    def submit_and_fail() -> None:
        with database.writing() as session:
            added(session, new_job(session))
            raise KeyError

    with pytest.raises(KeyError):
        submit_and_fail()
    with database.reading() as session:
        assert deliveries.due(session, now()) == []


def test_what_is_claimed_is_nobody_elses_until_the_hold_is_over(session: Session, job: JobRecord) -> None:
    delivery = added(session, job)
    first = claimed(session)
    assert deliveries.claim(session, "hook", now(), HOLD_S) is None
    again = claimed(session, now() + timedelta(seconds=HOLD_S))
    assert (first.tries, again.tries) == (1, 2)
    assert {delivery.delivery_id, first.delivery_id, again.delivery_id} == {f"{job.id}.1.succeeded.hook"}


def test_a_listener_claims_only_its_own_oldest_first(session: Session, job: JobRecord) -> None:
    for event in ("started", "succeeded"):
        added(session, job, event, "hook", "mail")
    assert [claimed(session).event, claimed(session).event] == ["started", "succeeded"]
    assert deliveries.count_waiting(session) == {"hook": 2, "mail": 2}
    assert deliveries.next_at(session, "mail") < deliveries.next_at(session, "hook")  # type: ignore[operator]


def test_the_wait_doubles_from_ten_seconds_to_an_hour() -> None:
    waits = [deliveries.wait_s(tries) for tries in range(1, 12)]
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert deliveries.wait_s(10_000) == 3600


def test_a_wait_that_the_listener_asks_for_is_kept_up_to_an_hour() -> None:
    assert [deliveries.wait_s(5, asked) for asked in (0.0, 30.0, 1e6)] == [10, 30, 3600]


def test_a_failed_try_is_due_again_after_its_wait_and_keeps_the_error(session: Session, job: JobRecord) -> None:
    added(session, job)
    moment = now()
    assert deliveries.failed(session, claimed(session), "it is away", moment) == moment + timedelta(seconds=10)
    assert deliveries.due(session, moment + timedelta(seconds=9)) == []
    (waiting,) = deliveries.due(session, moment + timedelta(seconds=10))
    assert (waiting.error, waiting.state) == ("it is away", "waiting")


def test_an_arrival_after_failures_leaves_no_error(session: Session, job: JobRecord) -> None:
    added(session, job)
    deliveries.failed(session, claimed(session), "it is away", now())
    deliveries.arrived(session, claimed(session, now() + timedelta(minutes=1)), now())
    (delivery,) = deliveries.list_deliveries(session, job.id)
    assert (delivery.state, delivery.error, delivery.tries) == ("arrived", "", 2)


def test_after_a_day_it_is_given_up_with_a_note(session: Session, job: JobRecord) -> None:
    day = added(session, job).created_at + timedelta(days=1)
    before = day - timedelta(seconds=1)
    assert deliveries.failed(session, claimed(session, before), "it is away", before) == day  # the last try is not left out
    assert deliveries.failed(session, claimed(session, day), "it is away", day) is None
    (delivery,) = deliveries.list_deliveries(session, job.id)
    assert (delivery.state, delivery.error) == ("given up", "given up after 24 h and 2 tries: it is away")


def test_who_comes_late_does_not_disturb_who_claimed_it_meanwhile(session: Session, job: JobRecord) -> None:
    added(session, job)
    late, moment = claimed(session), now() + timedelta(seconds=HOLD_S)
    claimed(session, moment)
    deliveries.failed(session, late, "it is away", moment)
    assert deliveries.due(session, moment + timedelta(seconds=HOLD_S - 1)) == []


def test_what_arrived_cannot_be_given_up_any_more(session: Session, job: JobRecord) -> None:
    added(session, job)
    delivery = claimed(session)
    deliveries.arrived(session, delivery, now())
    deliveries.give_up(session, delivery, "no", now())
    deliveries.failed(session, delivery, "no", now())
    assert [d.state for d in deliveries.list_deliveries(session, job.id)] == ["arrived"]


def test_what_nobody_sends_is_given_up_too_and_later_forgotten(session: Session, job: JobRecord) -> None:
    delivery = added(session, job)
    assert deliveries.expire(session, delivery.created_at + timedelta(hours=24)) == 0
    ended = delivery.created_at + timedelta(hours=26)
    assert deliveries.expire(session, ended) == 1
    assert "no longer in the settings" in deliveries.list_deliveries(session, job.id)[0].error
    assert (deliveries.forget(session, ended), deliveries.forget(session, ended + timedelta(seconds=1))) == (0, 1)


def test_deliveries_go_with_their_job(session: Session, job: JobRecord) -> None:
    added(session, job)
    session.execute(delete(JobRow))
    assert deliveries.due(session, now()) == []


def test_two_at_once_never_claim_the_same(database: Database, new_job: Callable[..., JobRecord]) -> None:
    with database.writing() as session:
        job = new_job(session)
        for attempt in range(20):
            deliveries.add(session, job.id, attempt, "started", ("hook",), {})
    found: list[int] = []

    def take_all() -> None:
        while True:
            with database.writing() as session:
                delivery = deliveries.claim(session, "hook", now(), HOLD_S)
            if delivery is None:
                return
            found.append(delivery.attempt)

    threads = [threading.Thread(target=take_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(20))

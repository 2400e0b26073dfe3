"""The dispatcher against real receivers: each event arrives, whatever fails on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.seams import Listener
from plugins.listeners.webhook import WebhookListener, verify
from registry.database import Database
from registry.deliveries import DeliveryRecord
from registry.tables import now
from runner.listeners import Dispatcher, Pace
from tests.plugins.listeners.http_receiver import HttpReceiver
from tests.runner.listeners.conftest import wait_until

SECRET = "shared-with-the-receiver"
Record = Callable[..., None]
Recorded = Callable[[], list[DeliveryRecord]]


def webhook(receiver: HttpReceiver) -> WebhookListener:
    return WebhookListener({"url": receiver.url, "secret": SECRET})


@pytest.fixture
def dispatch(database: Database) -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers that look often and wait little; stopped at the end."""
    started: list[Dispatcher] = []

    def start(listeners: Mapping[str, Listener], **given: Any) -> Dispatcher:
        dispatcher = Dispatcher(database, listeners, pace=given.pop("pace", Pace(first_wait_s=0.05, look_every_s=0.05)), **given)
        dispatcher.start()
        started.append(dispatcher)
        return dispatcher

    yield start
    for dispatcher in started:
        dispatcher.stop(60)


def test_an_event_arrives_once_and_its_signature_is_right(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    record()
    dispatcher = dispatch({"hook": webhook(receiver)})
    assert dispatcher.drain(60)
    assert dispatcher.drain(60)
    ((headers, body),) = receiver.requests
    assert verify(SECRET, headers, body)
    assert receiver.taken == ["t4k2m9xq.1.started.hook"]
    assert [delivery.state for delivery in recorded()] == ["arrived"]


def test_an_event_that_is_recorded_later_is_sent_when_it_is_said_so(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record
) -> None:
    dispatcher = dispatch({"hook": webhook(receiver)}, pace=Pace(look_every_s=3600.0))
    assert dispatcher.drain(60)
    record()
    dispatcher.kick()
    wait_until(lambda: receiver.taken)


def test_an_event_that_another_process_records_is_seen_too(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record
) -> None:
    assert dispatch({"hook": webhook(receiver)}).drain(60)
    record()
    wait_until(lambda: receiver.taken)


def test_the_events_of_a_listener_arrive_in_their_order(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record
) -> None:
    for attempt in (1, 2, 3):
        record(event="started", attempt=attempt)
        record(event="retried", attempt=attempt)
    assert dispatch({"hook": webhook(receiver)}).drain(60)
    assert receiver.taken == [f"t4k2m9xq.{attempt}.{event}.hook" for attempt in (1, 2, 3) for event in ("started", "retried")]


def test_a_receiver_that_was_away_gets_it_when_it_is_back(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    receiver.answer("away")
    record()
    dispatch({"hook": webhook(receiver)})
    wait_until(lambda: recorded()[0].error)
    assert "cannot be reached" in recorded()[0].error
    receiver.answer("take")
    wait_until(lambda: recorded()[0].state == "arrived")
    assert receiver.taken == ["t4k2m9xq.1.started.hook"]


def test_an_error_of_the_receiver_is_followed_by_another_try_with_the_same_id(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    answers = iter([500, 503, 200])
    receiver.on_request = lambda _: next(answers)
    record()
    dispatch({"hook": webhook(receiver)})
    wait_until(lambda: recorded()[0].state == "arrived")
    assert {headers["Sluice-Delivery"] for headers, _body in receiver.requests} == {"t4k2m9xq.1.started.hook"}
    assert (recorded()[0].tries, len(receiver.requests)) == (3, 3)


def test_a_receiver_that_asks_for_a_pause_gets_it(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "1800"}
    record()
    begin = now()
    assert dispatch({"hook": webhook(receiver)}).drain(60)
    assert recorded()[0].next_at >= begin + timedelta(seconds=1800)


def test_what_is_refused_for_good_is_given_up_with_the_receivers_words(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    receiver.status = 410
    record()
    assert dispatch({"hook": webhook(receiver)}).drain(60)
    assert (recorded()[0].state, recorded()[0].tries) == ("given up", 1)
    assert "answered 410 Gone" in recorded()[0].error


def test_a_silent_receiver_does_not_delay_another_listener(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record
) -> None:
    slow = HttpReceiver()
    slow.answer("silent")
    record("slow", "hook")
    dispatch({"slow": webhook(slow), "hook": webhook(receiver)})
    wait_until(lambda: slow.requests)
    record("hook", event="succeeded")
    wait_until(lambda: len(receiver.taken) == 2)
    assert len(slow.requests) == 1
    slow.close()


def test_two_dispatchers_at_once_send_each_message_once(
    dispatch: Callable[..., Dispatcher], tmp_path: Path, receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    for attempt in range(20):
        record(attempt=attempt)
    dispatch({"hook": webhook(receiver)})
    with Database.open(tmp_path / "sluice.db") as other:
        second = Dispatcher(other, {"hook": webhook(receiver)})
        second.start()
        wait_until(lambda: all(delivery.state == "arrived" for delivery in recorded()))
        second.stop(60)
    assert set(Counter(receiver.taken).values()) == {1}
    assert len(receiver.taken) == 20


SENDER = """
import sys
from plugins.listeners.webhook import WebhookListener
from registry.database import Database
from runner.listeners import Dispatcher, Pace
database, url, secret = sys.argv[1:]
dispatcher = Dispatcher(Database.open(database), {"hook": WebhookListener({"url": url, "secret": secret})}, pace=Pace(hold_s=1.0))
dispatcher.start()
dispatcher.drain(60)
"""


def test_killed_between_sending_and_recording_it_is_sent_again_with_the_same_id(
    dispatch: Callable[..., Dispatcher], tmp_path: Path, receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    started = threading.Event()

    def kill_first(_delivery: str) -> int:
        if len(receiver.requests) == 1:
            started.wait(60)
            os.kill(sender.pid, signal.SIGKILL)  # it is taken here, and nobody there will ever say so
        return 200

    receiver.on_request = kill_first
    record()
    sender = subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path / "sluice.db"), receiver.url, SECRET])
    started.set()
    assert sender.wait(60) == -signal.SIGKILL
    assert [(delivery.state, delivery.tries) for delivery in recorded()] == [("waiting", 1)]
    dispatch({"hook": webhook(receiver)})
    wait_until(lambda: recorded()[0].state == "arrived")
    assert receiver.taken == ["t4k2m9xq.1.started.hook"] * 2


class Faulty(Listener):
    """A foreign plugin with a defect."""

    name = "faulty"

    def __init__(self, options: Mapping[str, str]) -> None:
        self.asked = 0

    def deliver(self, delivery_id: str, message: Mapping[str, Any], timeout_s: float) -> None:
        self.asked += 1
        if self.asked < 3:
            raise KeyError("password=hunter22")


def test_a_plugins_defect_does_not_lose_the_message(dispatch: Callable[..., Dispatcher], record: Record, recorded: Recorded) -> None:
    listener = Faulty({})
    record("faulty")
    dispatch({"faulty": listener})
    wait_until(lambda: recorded()[0].error)
    assert "hunter22" not in recorded()[0].error
    wait_until(lambda: recorded()[0].state == "arrived")
    assert listener.asked == 3


def test_after_a_day_of_failures_it_is_given_up(
    dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record, recorded: Recorded
) -> None:
    receiver.status = 503
    record()
    tomorrow = now() + timedelta(days=1)
    assert dispatch({"hook": webhook(receiver)}, clock=lambda: tomorrow).drain(60)
    assert recorded()[0].error.startswith("given up after 24 h and 1 tries: ")


def test_messages_for_a_listener_that_is_gone_from_the_settings_end_too(
    dispatch: Callable[..., Dispatcher], record: Record, recorded: Recorded
) -> None:
    record("former")

    def in_two_days() -> datetime:
        return now() + timedelta(days=2)

    dispatch({}, clock=in_two_days)
    wait_until(lambda: recorded()[0].state == "given up")


def test_what_waits_at_the_stop_is_sent_by_the_next(dispatch: Callable[..., Dispatcher], receiver: HttpReceiver, record: Record) -> None:
    first = dispatch({"hook": webhook(receiver)})
    first.stop(60)
    first.stop(60)
    record()
    first.kick()
    assert not first.drain(0.1)
    assert receiver.taken == []
    assert dispatch({"hook": webhook(receiver)}).drain(60)
    assert receiver.taken == ["t4k2m9xq.1.started.hook"]

"""What every listener must do. Subclass ``ListenerConformance`` and give it the fixtures it names.

``receiver`` is a real server that the listener talks to. ``new_listener(**changes)`` makes a listener with options that work, some of them changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from contracts.seams import Listener

MESSAGE = {
    "id": "t4k2m9xq.1.failed",
    "event": "failed",
    "time": "2026-01-02T03:04:05.000Z",
    "text": "training cells-1 failed: out_of_memory",
    "job": {"id": "t4k2m9xq", "name": "cells-1", "kind": "training", "message": "Größe 日本 \udce4", "result": {"metrics": {"mAP": 0.5}}},
}
DELIVERY = "t4k2m9xq.1.failed.conformance"


class Receiver(Protocol):
    """The server under the listener."""

    def delivery_ids(self) -> list[str]:
        """Of everything that it took, in order."""
        ...

    def answer(self, how: str) -> None:
        """From now on: ``take``, ``later`` (it may work later), ``never``, ``silent`` (does not answer) or ``away`` (nobody listens)."""
        ...


class ListenerConformance:
    """Inherit, and provide the fixtures ``receiver``, ``new_listener``, ``secret`` (part of the options) and ``required_option`` (a name)."""

    def test_it_has_a_name(self, new_listener: Callable[..., Listener]) -> None:
        assert isinstance(new_listener().name, str)
        assert new_listener().name

    def test_making_one_contacts_nobody(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        receiver.answer("away")
        assert new_listener()

    def test_an_unknown_option_is_refused_by_name(self, new_listener: Callable[..., Listener]) -> None:
        with pytest.raises(ConfigurationError, match="no_such_option") as caught:
            new_listener(no_such_option="1")
        assert caught.value.hint

    def test_a_missing_option_is_named(self, new_listener: Callable[..., Listener], required_option: str) -> None:
        with pytest.raises(ConfigurationError, match=required_option) as caught:
            new_listener(**{required_option: ""})
        assert caught.value.hint

    def test_what_it_tells_arrives_with_the_delivery_id(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.delivery_ids() == [DELIVERY]

    def test_a_repeated_delivery_has_the_same_id(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        for listener in (new_listener(), new_listener()):
            listener.deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.delivery_ids() == [DELIVERY, DELIVERY]

    @pytest.mark.parametrize("how", ["later", "away"])
    def test_what_may_work_later_is_unavailable_and_works_later(
        self, new_listener: Callable[..., Listener], receiver: Receiver, how: str
    ) -> None:
        listener = new_listener()
        receiver.answer(how)
        with pytest.raises(UnavailableError) as caught:
            listener.deliver(DELIVERY, MESSAGE, 30.0)
        assert caught.value.hint
        receiver.answer("take")
        listener.deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.delivery_ids() == [DELIVERY]

    def test_what_will_never_work_is_a_wrong_request(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        receiver.answer("never")
        with pytest.raises(RequestError) as caught:
            new_listener().deliver(DELIVERY, MESSAGE, 30.0)
        assert caught.value.hint
        assert receiver.delivery_ids() == []

    def test_a_receiver_that_does_not_answer_is_given_up_in_time(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        receiver.answer("silent")
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match=r"within 0\.5 s"):
            new_listener().deliver(DELIVERY, MESSAGE, 0.5)
        assert time.monotonic() - begin < 60  # no more than that it does not wait for ever

    def test_no_secret_is_shown(self, new_listener: Callable[..., Listener], receiver: Receiver, secret: str) -> None:
        listener = new_listener()
        shown = [repr(listener), str(listener)]
        for how, error in (("later", UnavailableError), ("never", RequestError), ("away", UnavailableError)):
            receiver.answer(how)
            with pytest.raises(error) as caught:
                listener.deliver(DELIVERY, MESSAGE, 30.0)
            shown += [str(caught.value), repr(caught.value.fields)]
        assert not any(secret in text for text in shown)

    def test_threads_may_share_it(self, new_listener: Callable[..., Listener], receiver: Receiver) -> None:
        listener = new_listener()
        ids = [f"{DELIVERY}-{number}" for number in range(8)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda delivery: listener.deliver(delivery, MESSAGE, 60.0), ids))
        assert sorted(receiver.delivery_ids()) == ids

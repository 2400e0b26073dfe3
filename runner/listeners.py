"""Tells listeners about jobs: finds the plugins, chooses who hears of what, and sends what waits in the outbox (``registry.deliveries``)."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError, RequestError, SluiceError
from contracts.job import NAME_PATTERN
from contracts.seams import Listener
from registry import deliveries
from registry.database import Database
from registry.deliveries import FIRST_WAIT_S, DeliveryRecord
from registry.tables import now
from runner.loading import load
from runner.messages import EVENTS
from runner.service_log import hide, redacted
from runner.settings import Settings

#: How long one delivery may take.
DELIVERY_TIMEOUT_S = 30.0
KEPT_DAYS = 30
_HOUSEKEEPING_EVERY_S = 3600.0
#: Options that every listener has, whatever its kind; the others are the plugin's.
_FILTERS = ("projects", "users")
_OWN_OPTIONS = ("kind", "events", *_FILTERS)
_SECRETS = ("secret", "password", "token")

_log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------------------ which there are


def load_listeners(settings: Settings) -> dict[str, Listener]:
    """The listeners that the settings name. Contacts nobody. Raises ``ConfigurationError`` naming listener and option."""
    names = settings.listeners.split()
    for name in sorted(set(settings.listener_options) - set(names)):
        _log.warning("the section [listener %s] is not used: the setting listeners does not name it", name)
    return {name: _make(name, settings.listener_options.get(name, {})) for name in names}


def interested(settings: Settings, message: Mapping[str, Any]) -> list[str]:
    """The listeners that want this message, by their options ``events``, ``projects`` and ``users``; without loading any. Never raises."""
    job = message["job"]
    facts = {"events": message["event"], "projects": job.get("project"), "users": job.get("user")}
    return [name for name in settings.listeners.split() if _wants(settings.listener_options.get(name, {}), facts)]


def _wants(options: Mapping[str, str], facts: Mapping[str, Any]) -> bool:
    return all(not (wanted := _words(options.get(option, ""))) or fact in wanted for option, fact in facts.items())


def _make(name: str, options: Mapping[str, str]) -> Listener:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(f"the listener name {name!r} is no name", hint="Use letters, digits, dot, dash and underscore.")
    try:
        if unknown := sorted(set(_words(options.get("events", ""))) - set(EVENTS)):
            raise ConfigurationError(f"the option events names {', '.join(unknown)}", hint=f"Known: {', '.join(EVENTS)}.", option="events")
        for secret in _secrets(options):
            hide(secret)
        plugin = load("listener", options.get("kind", "").strip() or name, Listener)  # type: ignore[type-abstract]
        return plugin({option: value for option, value in options.items() if option not in _OWN_OPTIONS})
    except ConfigurationError as error:
        raise ConfigurationError(f"the listener {name}: {error.message}", hint=error.hint, **{**error.fields, "listener": name}) from error


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _secrets(options: Mapping[str, str]) -> Iterator[str]:
    """Values that no log may show; that a file cannot be read is the plugin's to say."""
    for option, value in options.items():
        if option.endswith(_SECRETS):
            yield value.strip()
        elif option.removesuffix("_file").endswith(_SECRETS):
            with suppress(OSError):
                yield Path(value.strip()).expanduser().read_text(encoding="utf-8", errors="replace").strip()


# ---------------------------------------------------------------------------------------------------------------- sending


@dataclass(frozen=True)
class Pace:
    """Seconds before a second try, that a claim holds, and between two looks at the outbox (another process may have recorded an event)."""

    first_wait_s: float = FIRST_WAIT_S
    hold_s: float = 4 * DELIVERY_TIMEOUT_S  # a plugin may need a little more than it was given
    look_every_s: float = 5.0


class Dispatcher:
    """Sends what is due, in a thread for each listener: one that is slow or away delays no other.

    1. Each delivery is claimed in a transaction before it is sent; several dispatchers on one database do not send it at the same time.
    2. Killed between sending and recording, the next dispatcher sends it again, with the same delivery id, when the claim is over.
    3. What fails is tried again with growing waits for a day; what the listener refuses for good is given up at once, with its words.
    4. The messages of one listener go out oldest due first; one that is tried again may arrive after a later one.
    """

    def __init__(
        self, database: Database, listeners: Mapping[str, Listener], *, clock: Callable[[], datetime] = now, pace: Pace | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._stopping = threading.Event()
        self._senders = [_Sender(database, name, listener, clock, pace or Pace()) for name, listener in listeners.items()]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to send, what an earlier process left included."""
        for name, action in (("listeners", self._keep_house), *((f"listener {sender.name}", sender.run) for sender in self._senders)):
            thread = threading.Thread(target=action, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, wait_s: float = 5.0) -> None:
        """End after the deliveries under way, or after ``wait_s``; what waits is sent by the next dispatcher. May be repeated."""
        self._stopping.set()
        end = time.monotonic() + wait_s
        for sender in self._senders:
            sender.stop()
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def kick(self) -> None:
        """Look at once: something was recorded."""
        for sender in self._senders:
            sender.kick()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything that is due now was tried once; False when that takes longer. For a process that ends soon."""
        end = time.monotonic() + timeout_s
        looks = [(sender, sender.kick()) for sender in self._senders]
        return all(sender.wait_looked(look, end - time.monotonic()) for sender, look in looks)

    def _keep_house(self) -> None:
        """What no listener asks for any more is given up; what ended long ago is forgotten."""
        while not self._stopping.is_set():
            moment = self._clock()
            try:
                with self._database.writing() as session:
                    expired = deliveries.expire(session, moment)
                    deliveries.forget(session, moment - timedelta(days=KEPT_DAYS))
                if expired:
                    _log.error("%d messages were given up: nobody sent them for a day", expired)
            except SluiceError as error:
                _log.warning("old messages could not be put away: %s", error.message)
            self._stopping.wait(_HOUSEKEEPING_EVERY_S)


class _Sender:
    """One listener's deliveries, one after the other."""

    def __init__(self, database: Database, name: str, listener: Listener, clock: Callable[[], datetime], pace: Pace) -> None:
        self.name = name
        self._database, self._listener, self._clock, self._pace = database, listener, clock, pace
        self._changed = threading.Condition()
        self._asked = 1  # looks that were asked for
        self._looked = 0  # the last of them after which nothing was due
        self._stopping = False

    def run(self) -> None:
        while not self._stopping:
            asked, wait_s = self._asked, self._pace.look_every_s
            try:
                wait_s = self._send_all_due()
            except Exception:
                _log.exception("messages to %s could not be sent", self.name)
            with self._changed:
                self._looked = asked
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopping or self._asked > self._looked, wait_s)

    def kick(self) -> int:
        """The number of the look that was asked for."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def wait_looked(self, look: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._looked >= look, max(timeout_s, 0.0))

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _send_all_due(self) -> float:
        """Seconds after which to look again."""
        while (due_in_s := self._due_in_s()) <= 0.0 and not self._stopping:
            if (delivery := self._claim()) is not None:
                self._send(delivery)
        return min(due_in_s, self._pace.look_every_s)

    def _due_in_s(self) -> float:
        """Asked without a write transaction: mostly nothing is due."""
        with self._database.reading() as session:
            moment = deliveries.next_at(session, self.name)
        return self._pace.look_every_s if moment is None else (moment - self._clock()).total_seconds()

    def _claim(self) -> DeliveryRecord | None:
        with self._database.writing() as session:
            return deliveries.claim(session, self.name, self._clock(), self._pace.hold_s)

    def _send(self, delivery: DeliveryRecord) -> None:
        try:
            self._listener.deliver(delivery.delivery_id, delivery.message, DELIVERY_TIMEOUT_S)
        except RequestError as error:
            self._give_up(delivery, redacted(error.message))
        except SluiceError as error:
            self._try_again(delivery, redacted(error.message), error.fields.get("retry_after_s"))
        except Exception as error:  # a plugin's defect is nothing that the message deserves to be lost for
            _log.exception("the listener %s has a defect", self.name)
            self._try_again(delivery, redacted(f"{type(error).__name__}: {error}"), None)
        else:
            with self._database.writing() as session:
                deliveries.arrived(session, delivery, self._clock())

    def _try_again(self, delivery: DeliveryRecord, error: str, asked_wait_s: float | None) -> None:
        with self._database.writing() as session:
            again = deliveries.failed(
                session, delivery, error, self._clock(), asked_wait_s=asked_wait_s, first_wait_s=self._pace.first_wait_s
            )
        if again is None:
            _log.error("message %s was given up after a day: %s", delivery.delivery_id, error)
        else:
            _log.warning("message %s waits until %s: %s", delivery.delivery_id, again.isoformat(timespec="seconds"), error)

    def _give_up(self, delivery: DeliveryRecord, error: str) -> None:
        with self._database.writing() as session:
            deliveries.give_up(session, delivery, error, self._clock())
        _log.error("message %s was refused: %s", delivery.delivery_id, error)

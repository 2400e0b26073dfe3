"""The book of containers: one list of this installation's containers each second, whoever waits for one of them.

The list is the truth; hints from the engine only make the look at one container come sooner. A container that ended stays with the engine
until its job removes it, so a hint that is missed costs a second and no exit code.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from contracts.errors import EngineError, EngineGoneError
from contracts.seams import ContainerStatus, Engine, ExitWatch

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
_ENDED = ("exited", "gone")


class ContainerBook:
    """The containers with ``labels`` on one engine. ``start`` begins to look; without it every look is asked for."""

    def __init__(self, engine: Engine, labels: Mapping[str, str]) -> None:
        self._engine = engine
        self._labels = dict(labels)
        self._news = threading.Condition()
        self._by_name: dict[str, ContainerStatus] = {}
        self._looks = 0
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        #: Why the engine did not answer the last look; '' when it did.
        self.silent: str = ""

    def start(self) -> None:
        for action in (self._look_for_ever, self._hear_for_ever):
            thread = threading.Thread(target=action, name=f"{self._engine.name} {action.__name__.strip('_')}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        self._closed.set()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def list(self) -> list[ContainerStatus]:
        """As of the last look."""
        with self._news:
            return list(self._by_name.values())

    def find(self, reference: str) -> ContainerStatus | None:
        """A container by name or id, as of the last look; None when it was not there then."""
        with self._news:
            found = self._by_name.get(reference)
            return found or next((status for status in self._by_name.values() if status.id == reference), None)

    def watch(self, name: str) -> ExitWatch:
        """A wait for the container of this name."""
        return _BookWatch(self, name)

    def look(self) -> None:
        """Ask the engine once. An engine that is away leaves the book as it was and is noted in ``silent``."""
        try:
            found = {status.name: status for status in self._engine.list_containers(self._labels)}
        except EngineError as error:
            self.silent = error.message
            return
        with self._news:
            self.silent = ""
            self._by_name = found
            self._looks += 1
            self._news.notify_all()

    def _look_for_ever(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Exception:
                log.exception("the containers could not be looked at")

    def _hear_for_ever(self) -> None:
        while not self._closed.is_set():
            try:
                for name in self._engine.hints(self._labels, self._closed.is_set):
                    if name:
                        self._look_at(name)
            except EngineError as error:
                log.info("no hints from the engine: %s", error.message)
            except Exception:
                log.exception("the engine's hints could not be read")
            self._closed.wait(_LOOK_EVERY_S)

    def _look_at(self, name: str) -> None:
        """One container only; one that nobody knows yet is left to the list."""
        with self._news:
            known = self._by_name.get(name)
        status = self._engine.status(name)
        if status.state == "gone":
            return
        with self._news:
            if self._by_name.get(name) is known:  # not when a list was faster
                self._by_name[name] = status
            self._news.notify_all()

    # What a watch needs.

    def wait_for_end(self, name: str, deadline: float) -> ContainerStatus | None:
        """The final status; None at the ``deadline`` (monotonic). Raises ``EngineGoneError`` when the engine is silent then."""
        with self._news:
            first = self._looks
            while True:
                status = self._by_name.get(name)
                if status and status.state in _ENDED:
                    return status
                if status is None and self._looks > first:
                    break  # not in a list that was asked for after the wait began
                left = deadline - time.monotonic()
                if left <= 0 or self._closed.is_set():
                    if self.silent:
                        raise EngineGoneError(self.silent, hint="Start the engine again; the job goes on when it answers.")
                    return None
                self._news.wait(left)
        status = self._engine.status(name)
        return status if status.state in _ENDED else None


class _BookWatch(ExitWatch):
    def __init__(self, book: ContainerBook, name: str) -> None:
        self._book = book
        self._name = name

    def wait(self, timeout_s: float) -> ContainerStatus | None:
        return self._book.wait_for_end(self._name, time.monotonic() + timeout_s)

    def close(self) -> None:
        """Nothing is held."""

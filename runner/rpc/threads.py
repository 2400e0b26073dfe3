"""Threads for verbs, which block, beside the event loop, which must not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most ``most`` daemon threads, made when needed; work beyond that waits its turn.

    Daemons: a service that ends waits for no build. What it was doing is cut off as by a kill, which every verb is made for.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._outstanding = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, from a thread. Cancelled before a thread took it up, it is not done."""
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self._outstanding += 1
            self._queue.put((future, work))
            if self._started < min(self._most, self._outstanding):
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name} {self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Threads end when they have nothing to do."""
        with self._lock:
            for _ in range(self._started):
                self._queue.put(None)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            _do(*task)
            with self._lock:
                self._outstanding -= 1


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)

"""What a verb says while it works, from its thread to the stream of the client who waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future

_MOST_WAITING = 1000
_PAUSE_S = 0.02


class ClientGone(Exception):  # noqa: N818 - no error of anybody's
    """Raised in the verb's next word when nobody listens any more: what was only for that client ends."""


class Updates:
    """Made in the event loop; ``say`` is for the verb's thread, the rest for the loop.

    A slow client slows the verb down rather than filling the memory.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._said: deque[bytes] = deque()
        self._there = asyncio.Event()
        self._gone = threading.Event()

    def say(self, update: bytes) -> None:
        while len(self._said) >= _MOST_WAITING and not self._gone.is_set():
            time.sleep(_PAUSE_S)
        if self._gone.is_set():
            raise ClientGone
        self._said.append(update)
        self._loop.call_soon_threadsafe(self._there.set)

    def give_up(self) -> None:
        """The client is gone."""
        self._gone.set()

    async def until(self, work: Future[bytes]) -> AsyncIterator[bytes]:
        """Everything said while the work goes on, and then what it gives. Raises what it raises."""
        done = asyncio.wrap_future(work)
        done.add_done_callback(lambda _: self._there.set())
        try:
            while not done.done() or self._said:
                while self._said:
                    yield self._said.popleft()
                if not done.done():
                    await self._there.wait()
                    self._there.clear()
            yield done.result()
        finally:
            done.cancel()  # nobody asks it any more


def seldom(say: Callable[..., None], interval_s: float) -> Callable[..., None]:
    """For counts, of which only the latest matters: passes on the first, the last (``done == total``) and one in each interval."""
    due = 0.0

    def say_seldom(done: int, total: int | None) -> None:
        nonlocal due
        if time.monotonic() >= due or done == total:
            due = time.monotonic() + interval_s
            say(done, total)

    return say_seldom


def name_of_callback(parameters: Iterable[str]) -> str:
    """The one parameter of a verb that hears how far it is."""
    return next(name for name in parameters if name.startswith("on_"))

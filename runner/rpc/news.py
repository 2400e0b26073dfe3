"""Who waits for news of a job: one look at the bell for all watchers, so that a watcher costs next to nothing while nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOK_S = 0.05


class News:
    """Belongs to one event loop. ``count`` gives a number that grows with each piece of news of a job that this process knows of."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self.count = count
        self._waiting: dict[asyncio.Future[None], tuple[str, int]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, job_id: str, seen: int, timeout_s: float) -> None:
        """Until there is news since ``seen`` was counted, at most ``timeout_s``: what another process does is seen by looking."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = (job_id, seen)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiting.pop(waiter, None)

    async def _look(self) -> None:
        while self._waiting:
            for waiter, (job_id, seen) in self._waiting.items():
                if not waiter.done() and self.count(job_id) != seen:
                    waiter.set_result(None)
            await asyncio.sleep(_LOOK_S)

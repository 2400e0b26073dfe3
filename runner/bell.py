"""Wakes whoever waits for news of a job in this process. What another process does is seen by looking, so a wait always has a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict

#: Jobs that ended whose count is still known: whoever took it a moment before they ended must see that it changed.
_GONE_KEPT = 1000


class Bell:
    """Counts the news of each job. Safe to share between threads."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._counts: dict[str, int] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()

    def count(self, job_id: str) -> int:
        """To be taken before looking at the job: news after that end the next ``wait`` at once."""
        with self._rung:
            return self._count(job_id)

    def ring(self, job_id: str) -> None:
        with self._rung:
            self._counts[job_id] = self._count(job_id) + 1
            self._rung.notify_all()

    def wait(self, job_id: str, seen: int, timeout_s: float) -> None:
        """Until there is news since ``seen`` was counted, at most ``timeout_s``."""
        with self._rung:
            self._rung.wait_for(lambda: self._count(job_id) != seen, timeout_s)

    def forget(self, job_id: str) -> None:
        """The job has ended: it will have no more news."""
        with self._rung:
            self._gone[job_id] = self._count(job_id)
            self._counts.pop(job_id, None)
            while len(self._gone) > _GONE_KEPT:
                self._gone.popitem(last=False)

    def _count(self, job_id: str) -> int:
        return self._counts.get(job_id) or self._gone.get(job_id, 0)

"""Wakes whoever waits for news of a job in this process. What another process does is seen by looking, so a wait always has a limit."""

from __future__ import annotations

import threading
from collections import defaultdict


class Bell:
    """Counts the news of each job. Safe to share between threads."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._counts: defaultdict[str, int] = defaultdict(int)

    def count(self, job_id: str) -> int:
        """To be taken before looking at the job: news after that end the next ``wait`` at once."""
        with self._rung:
            return self._counts.get(job_id, 0)

    def ring(self, job_id: str) -> None:
        with self._rung:
            self._counts[job_id] += 1
            self._rung.notify_all()

    def wait(self, job_id: str, seen: int, timeout_s: float) -> None:
        """Until there is news since ``seen`` was counted, at most ``timeout_s``."""
        with self._rung:
            self._rung.wait_for(lambda: self._counts.get(job_id, 0) != seen, timeout_s)

    def forget(self, job_id: str) -> None:
        """The job has ended: it will have no more news."""
        with self._rung:
            self._counts.pop(job_id, None)
            self._rung.notify_all()

"""A wait for one container's end that nothing can make it miss: the engine's own wait for speed, an inspection each second for truth."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import requests

from contracts.errors import EngineGoneError
from contracts.seams import ContainerStatus, ExitWatch

_INSPECT_EVERY_S = 1.0


class DockerWatch(ExitWatch):
    """Holds the open answer of the wait call, without a thread: ``wait`` sleeps on its socket and asks for the status.

    The answer says only that it is time to look. A cut connection, a restart of the engine or a missed event therefore costs at most a
    second. An engine that is away for a while is waited for; ``wait`` raises ``EngineGoneError`` when it is still away after its time.
    """

    def __init__(self, status: Callable[[], ContainerStatus], answer: requests.Response | None) -> None:
        self._status = status
        self._answer = answer

    def wait(self, timeout_s: float) -> ContainerStatus | None:
        end = time.monotonic() + timeout_s
        while True:
            status, problem = self._look()
            if status and status.state in ("exited", "gone"):
                self.close()
                return status
            left = end - time.monotonic()
            if left <= 0 and problem:
                raise problem
            if left <= 0:
                return None
            self._sleep(min(left, _INSPECT_EVERY_S))

    def _look(self) -> tuple[ContainerStatus | None, EngineGoneError | None]:
        try:
            return self._status(), None
        except EngineGoneError as error:
            return None, error

    def _sleep(self, seconds: float) -> None:
        """Until the engine says something, at most that long."""
        answer = self._answer
        poll = select.poll()
        try:
            if answer is not None:
                poll.register(answer.raw.fileno(), select.POLLIN)
        except (OSError, ValueError):  # closed by another thread
            self.close()
        if poll.poll(seconds * 1000):
            self.close()  # it has said all it will say: the end of the container, or that the connection is cut

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

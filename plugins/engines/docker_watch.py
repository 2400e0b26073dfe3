"""A wait for one container's end that nothing can make it miss: the engine's own wait for speed, an inspection each second for truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from contracts.errors import EngineGoneError
from contracts.seams import ContainerStatus, ExitWatch
from plugins.engines.docker_http import Answer, NoAnswer

_INSPECT_EVERY_S = 1.0


class DockerWatch(ExitWatch):
    """Holds the open answer of the wait call, without a thread: ``wait`` sleeps on its socket, then asks for the status.

    The answer says only that it is time to look. A cut connection, a restart of the engine or a missed event therefore costs at most a
    second. An engine that is away for a while is waited for; ``wait`` raises ``EngineGoneError`` when it is still away after its time.
    """

    def __init__(self, status: Callable[[], ContainerStatus], answer: Answer | None) -> None:
        self._status = status
        self._answer = answer
        self._looks_first = answer is None  # it had ended already, or was not there

    def wait(self, timeout_s: float) -> ContainerStatus | None:
        end = time.monotonic() + timeout_s
        while True:
            self._sleep(min(max(0.0, end - time.monotonic()), _INSPECT_EVERY_S))
            status, problem = self._look()
            if status and status.state in ("exited", "gone"):
                self.close()
                return status
            over = time.monotonic() >= end
            if over and problem:
                raise problem
            if over:
                return None

    def _look(self) -> tuple[ContainerStatus | None, EngineGoneError | None]:
        try:
            return self._status(), None
        except EngineGoneError as error:
            return None, error

    def _sleep(self, seconds: float) -> None:
        """Until the engine says something, at most that long."""
        answer = self._answer
        if self._looks_first:
            self._looks_first = False
        elif answer is None:
            time.sleep(seconds)
        elif answer.wait(seconds):
            with suppress(NoAnswer):  # it has said all it will say: the end of the container, or that the connection is cut
                answer.read()
            self.close()

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

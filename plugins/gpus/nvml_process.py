"""The probe as a child process, and the pipes to it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, Any, cast

PROBE = "plugins.gpus.nvml_probe"
COMMAND = (sys.executable, "-m", PROBE)
_MAX_ANSWER_BYTES = 8 * 1024**2


class ProbeProcess:
    """Starts at once. ``on_event`` is called with every event that is found between the answers. Not safe to share between threads."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        # SECURITY: nothing of our environment but what finds Python and the driver's library; and no folder of the user's as the current
        # one, from which -m would import.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={**environment, "LC_ALL": "C.UTF-8"},
            start_new_session=True,  # Ctrl-C is for us, not for it
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._on_event = on_event
        self._buffer = b""
        self._count = 0
        self.has_answered = False

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, deadline: float) -> dict[str, Any]:
        """One answer. Raises ``TimeoutError`` at the deadline, ``OSError`` when the probe ended, ``ValueError`` for nonsense."""
        self._count += 1
        self._requests.write(json.dumps({"id": self._count}).encode() + b"\n")
        while True:
            message = json.loads(self._read_line(deadline))
            if isinstance(message, dict) and "event" in message:
                self._on_event(message["event"])
            elif isinstance(message, dict) and message.get("id") == self._count:
                self.has_answered = True
                return message
            else:
                raise ValueError(f"it answered {str(message)[:80]!r} to request {self._count}")

    def hear(self) -> None:
        """Takes the events that have come since the last answer; never waits and never raises. An answer that came too late is dropped."""
        with contextlib.suppress(OSError, ValueError):
            while True:
                message = json.loads(self._read_line(0.0))
                if "event" in message:
                    self._on_event(message["event"])

    def kill(self) -> subprocess.Popen[bytes]:
        """Kill without waiting; the process is to be reaped when it is dead."""
        self._process.kill()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        return self._process

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            self._buffer += self._read_some(deadline)
            if len(self._buffer) > _MAX_ANSWER_BYTES:
                raise OSError("its answer has no end")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _read_some(self, deadline: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
        chunk = os.read(self._answers.fileno(), 65536)
        if not chunk:
            raise OSError("it ended without an answer")
        return chunk

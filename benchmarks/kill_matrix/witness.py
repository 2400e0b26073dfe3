"""What the engine itself says of the containers: an independent record of starts and ends."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException

#: After so long without an event the line is made anew.
_SILENCE_S = 300


@dataclass(frozen=True)
class Seen:
    """One event. ``time`` is Unix seconds; ``exit_code`` is of a ``die``."""

    time: float
    action: str
    name: str
    container_id: str
    exit_code: int | None = None


class Witness:
    """Listens to one engine for containers with the label, over its restarts."""

    def __init__(self, host: str, label: str) -> None:
        self._host = host
        self._label = label
        self._closed = threading.Event()
        self._seen: dict[tuple[Any, ...], Seen] = {}
        self._since = time.time()
        self._stream: Any = None
        self._thread = threading.Thread(target=self._listen_for_ever, name="witness", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with suppress(DockerException, OSError, AttributeError):  # it is just being opened or closed
            self._stream.close()
        self._thread.join(timeout=5.0)

    def events(self) -> list[Seen]:
        return sorted(self._seen.values(), key=lambda seen: seen.time)

    def peak(self) -> int:
        """The most containers that ran at once."""
        running, most = set[str](), 0
        for seen in self.events():
            running.add(seen.container_id) if seen.action == "start" else running.discard(seen.container_id)
            most = max(most, len(running))
        return most

    def _listen_for_ever(self) -> None:
        while not self._closed.is_set():
            with suppress(DockerException, OSError, ValueError):
                self._listen()
            time.sleep(0.05)

    def _listen(self) -> None:
        client = docker.APIClient(base_url=self._host, version="1.41", timeout=_SILENCE_S)
        try:
            filters = {"type": "container", "label": self._label, "event": ["create", "start", "die", "destroy"]}
            self._stream = client.events(since=int(self._since), decode=True, filters=filters)
            for event in self._stream:
                self._note(event)
        finally:
            client.close()

    def _note(self, event: dict[str, Any]) -> None:
        """A repeated one, after a new connection, counts once."""
        attributes, moment = event["Actor"]["Attributes"], event["timeNano"] / 1e9
        code = int(attributes["exitCode"]) if "exitCode" in attributes else None
        seen = Seen(moment, event["Action"], attributes["name"], event["Actor"]["ID"], code)
        self._seen[(event["timeNano"], seen.action, seen.container_id)] = seen
        self._since = max(self._since, moment)

"""The engine's events as hints that it is time to look: names of containers, as they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from contracts.seams import HINT_INTERVAL_S
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_http import NoAnswer


def names(client: DockerClient, labels: Sequence[str], stop: Callable[[], bool]) -> Iterator[str]:
    """One stream on a connection of its own; '' each second in between. Raises ``NoAnswer`` when the engine breaks off."""
    wanted = {"type": ["container"], "event": ["die"], "label": list(labels)}
    with client.open("GET", "/events", {"filters": wanted}) as answer:
        rest = b""
        while not stop():
            if not answer.wait(HINT_INTERVAL_S):
                yield ""
                continue
            piece = answer.piece()
            if not piece:
                raise NoAnswer("the engine ended the stream of its events")
            *lines, rest = (rest + piece).split(b"\n")
            yield from (_name(json.loads(line)) for line in lines if line.strip())


def _name(event: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    return event.get("Actor", {}).get("Attributes", {}).get("name", "")

"""The line to the Docker Engine: questions and orders as JSON, and answers that are read as they come.

Where the engine is, DOCKER_HOST and its companions say, as for the docker command. A local socket is spoken to directly (``docker_http``),
everything else through Docker's SDK (``docker_sdk``).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from plugins.engines.docker_http import Answer, NotAsked, Refused, SocketTransport, Transport

CONTROL_TIMEOUT_S = 60.0
_DEFAULT_HOST = "unix:///var/run/docker.sock"

#: The API version by address: asked once per process.
_versions: dict[str, str] = {}


class DockerClient:
    """Contacts nobody before the first call. May be used by several threads at a time. Calls raise ``Refused``, ``NoAnswer`` and ``NotAsked``."""

    def __init__(self) -> None:
        self._transport: Transport | None = None
        self._address = ""
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """The newest version of the API that the engine speaks."""
        transport = self._connected()
        if self._address not in _versions:
            with transport.open("GET", "/_ping", {}, None, CONTROL_TIMEOUT_S, CONTROL_TIMEOUT_S) as answer:
                words = answer.read()
                if answer.status >= 400 or "api-version" not in answer.headers:
                    raise Refused(answer.status, _words(words) or "it is no Docker Engine: it does not tell its API version")
                _versions[self._address] = answer.headers["api-version"]
        return _versions[self._address]

    @property
    def is_local(self) -> bool:
        """Whether answers can be waited for to the moment: over a local socket."""
        return isinstance(self._connected(), SocketTransport)

    def get(self, path: str, **params: Any) -> Any:
        """The answer's JSON. ``params`` that are dicts go as JSON, True as 1."""
        return self.ask("GET", path, params)

    def ask(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None, timeout_s: float = CONTROL_TIMEOUT_S
    ) -> Any:
        """The answer's JSON, None where it has no body."""
        with self.open(method, path, params, body=body, timeout_s=timeout_s, read_timeout_s=timeout_s) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def open(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeout_s: float = CONTROL_TIMEOUT_S,
        read_timeout_s: float | None = CONTROL_TIMEOUT_S,
    ) -> Answer:
        """The answer when its head is there: its body is still to be read, and it must be closed. None for a body that may be silent for ever."""
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            return self._ask_once(method, path + _query(params or {}), headers or {}, content, timeout_s, read_timeout_s)
        except Refused as error:
            if "client version" not in error.words:
                raise
        _versions.pop(self._address, None)  # another engine answers there since it was restarted
        return self._ask_once(method, path + _query(params or {}), headers or {}, content, timeout_s, read_timeout_s)

    def _ask_once(
        self, method: str, call: str, headers: Mapping[str, str], content: bytes | None, timeout_s: float, read_timeout_s: float | None
    ) -> Answer:
        answer = self._connected().open(method, f"/v{self.version}{call}", headers, content, timeout_s, read_timeout_s)
        if answer.status < 300 or answer.status == 304:  # 304: it is so already
            return answer
        with answer:  # a redirection is what the engine makes of a name with dots and slashes: nothing has such a name
            raise Refused(404 if answer.status < 400 else answer.status, _words(answer.read()))

    def inspect(self, container_id: str) -> dict[str, Any] | None:
        """The container's inspection by id or name, or None when the engine does not have it."""
        if not container_id:
            return None
        try:
            inspected: dict[str, Any] = self.get(f"/containers/{name_part(container_id)}/json")
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return inspected

    def info(self) -> Mapping[str, Any]:
        """What the engine says of itself and its host."""
        info: Mapping[str, Any] = self.get("/info")
        return info

    def remove(self, container_id: str) -> None:
        """Whether it runs or not: for containers that no job needs."""
        self.ask("DELETE", f"/containers/{name_part(container_id)}", {"v": True, "force": True})

    def close(self) -> None:
        """Let go of idle connections; the next call makes new ones."""
        if self._transport is not None:
            self._transport.close()

    def _connected(self) -> Transport:
        if self._transport is None:
            with self._lock:
                self._address = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
                self._transport = self._transport or _transport_to(self._address)
        return self._transport


def _transport_to(address: str) -> Transport:
    if address.startswith("unix://"):
        return SocketTransport("/" + address.removeprefix("unix://").lstrip("/"))
    try:
        from plugins.engines.docker_sdk import SdkTransport
    except ImportError as error:
        raise NotAsked(f"{address} cannot be spoken to: {error}") from error
    return SdkTransport()


def name_part(name: str) -> str:
    """A container's or image's name as part of a path."""
    return quote(name, safe="")


def _query(params: Mapping[str, Any]) -> str:
    values = {
        name: json.dumps(value) if isinstance(value, dict) else int(value) if isinstance(value, bool) else value
        for name, value in params.items()
    }
    return f"?{urlencode(values)}" if values else ""


def _words(content: bytes) -> str:
    """The engine's own words in an answer of refusal, on one line where they were several."""
    try:
        words = json.loads(content)["message"]
    except (ValueError, TypeError, KeyError):
        words = content.decode("utf-8", "replace")
    return " ".join(str(words).split())

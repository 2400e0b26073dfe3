"""The line to the Docker Engine: the SDK's client, one for each thread, and the calls whose answer is read as a stream."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests
from docker import APIClient
from docker.errors import NotFound, create_api_error_from_http_exception
from docker.utils import kwargs_from_env, parse_host

CONTROL_TIMEOUT_S = 60.0
_PIECE_BYTES = 1024 * 1024


class DockerClient:
    """Contacts nobody before the first call. Where the engine is, DOCKER_HOST and its companions say, as for the docker command."""

    def __init__(self) -> None:
        # The SDK's session may not be used by two threads at a time.
        self._of_thread = threading.local()

    @property
    def api(self) -> Any:  # an APIClient, whose published types leave out half of its calls
        """For control calls; each ends within a minute. Raises Docker's errors: use it inside ``translated``."""
        _check_socket()
        if not hasattr(self._of_thread, "api"):
            self._of_thread.api = APIClient(version="auto", timeout=int(CONTROL_TIMEOUT_S), **kwargs_from_env())
        return self._of_thread.api

    def close(self) -> None:
        """Let go of this thread's connections; the next call makes new ones."""
        if hasattr(self._of_thread, "api"):
            self._of_thread.api.close()
            del self._of_thread.api

    def inspect(self, container_id: str) -> dict[str, Any] | None:
        """The container's inspection by id or name, or None when the engine does not have it."""
        if not container_id:
            return None
        try:
            inspected: dict[str, Any] = self.api.inspect_container(container_id)
        except NotFound:
            return None
        return inspected

    def request(
        self, method: str, container_id: str, call: str, params: dict[str, str], read_timeout_s: float | None = CONTROL_TIMEOUT_S
    ) -> requests.Response:
        """The answer's head; its body is still to be read, and it must be closed. Raises Docker's errors."""
        api = self.api
        url = f"{api.base_url}/v{api.api_version}/containers/{quote(container_id, safe='')}/{call}"
        answer: requests.Response = api.request(method, url, params=params, stream=True, timeout=(CONTROL_TIMEOUT_S, read_timeout_s))
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            with answer:
                create_api_error_from_http_exception(error)
        return answer

    @contextmanager
    def stream(self, container_id: str, call: str, params: dict[str, str]) -> Iterator[Iterator[bytes]]:
        """The body in pieces as they come; the connection is closed at the end, however much of it was read."""
        with self.request("GET", container_id, call, params) as answer:
            yield answer.iter_content(_PIECE_BYTES)


def _check_socket() -> None:
    """Raises at once when nobody listens on the engine's local socket.

    The SDK (7.1) leaves the socket of a connection that failed open until it is collected; this can go when it closes it.
    """
    address = str(parse_host(os.environ.get("DOCKER_HOST")))
    if not address.startswith("http+unix://"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONTROL_TIMEOUT_S)
        try:
            probe.connect("/" + address.removeprefix("http+unix://").lstrip("/"))
        except OSError as error:
            raise requests.ConnectionError(error) from error

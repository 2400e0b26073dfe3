"""What is left to Docker's SDK: engines behind TCP, TLS or ssh, builds and imports, and who may pull from a registry.

Imported only when one of these is needed: the SDK costs a tenth of a second. Its errors leave here as ``docker_http``'s.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import urllib3
from docker import APIClient, auth
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from plugins.engines.docker_http import Answer, NoAnswer, NotAsked, Refused, Transport

_PIECE_BYTES = 1024 * 1024
_SDK_TIMEOUT_S = 60
_NOT_ANSWERING = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


@contextmanager
def plain_errors() -> Iterator[None]:
    """The SDK's errors as ``Refused``, ``NoAnswer`` and ``NotAsked``."""
    try:
        yield
    except APIError as error:
        raise Refused(error.status_code or 500, " ".join(str(error.explanation or error).split())) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise NoAnswer(str(error)) from error
    except DockerException as error:
        # The SDK wraps what it meets while it asks for the version.
        if any(isinstance(cause, _NOT_ANSWERING) for cause in (error.__cause__, error.__context__, *error.args)):
            raise NoAnswer(str(error)) from error
        raise NotAsked(str(error)) from error


def open_client(version: str | None) -> Any:  # an APIClient, whose published types leave out half of its calls
    """A client of one's own, to be closed. None: the SDK asks for the version itself."""
    with plain_errors():
        return APIClient(version=version or "auto", timeout=_SDK_TIMEOUT_S, **kwargs_from_env())


# ---------------------------------------------------------------------------------------------------------- pull rights


def pull_authorization(reference: str) -> str | None:
    """What to send along so that the registry lets us pull: from config.json (where DOCKER_CONFIG says) or its credential helper.

    None: the registry is asked anonymously. Raises ``NotAsked`` when a helper fails.
    """
    try:
        registry, _ = auth.resolve_repository_name(reference.partition("@")[0])
        found = auth.load_config().resolve_authconfig(registry)
    except DockerException as error:  # what a helper said stands behind it
        raise NotAsked(str(error)) from error
    return auth.encode_header(found).decode("ascii") if found else None


# ------------------------------------------------------------------------------------------------------ build and import


def build_events(version: str, folder: Path, reference: str, build_args: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """What the classic builder says; .dockerignore is honoured and intermediate containers are removed, also on failure."""
    client = open_client(version)
    try:
        with plain_errors():
            yield from client.build(path=str(folder), tag=reference, buildargs=dict(build_args), rm=True, forcerm=True, decode=True)
    finally:
        client.close()


def import_tar(version: str, tar: Path, repository: str, tag: str) -> None:
    client = open_client(version)
    try:
        with plain_errors():
            client.import_image(src=str(tar), repository=repository, tag=tag, changes='CMD ["bash"]')
    finally:
        client.close()


# ------------------------------------------------------------------------------------------------------ other transports


class SdkTransport(Transport):
    """The SDK's own session, one for each thread: it may not be used by two at a time."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float, read_timeout_s: float | None
    ) -> Answer:
        with plain_errors():
            if not hasattr(self._of_thread, "client"):
                self._of_thread.client = open_client(None)
            client = self._of_thread.client
            typed = {**headers, "Content-Type": "application/json"} if body is not None else dict(headers)
            timeouts = (timeout_s, read_timeout_s)
            return _SdkAnswer(client.request(method, client.base_url + target, headers=typed, data=body, stream=True, timeout=timeouts))

    def close(self) -> None:
        """Only this thread's."""
        if hasattr(self._of_thread, "client"):
            self._of_thread.client.close()
            del self._of_thread.client


class _SdkAnswer(Answer):
    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._pieces = response.iter_content(_PIECE_BYTES)

    def piece(self) -> bytes:
        with plain_errors():
            return next(self._pieces, b"")

    def wait(self, seconds: float) -> bool:
        """On a connection that is encrypted or goes through ssh this may say False although a piece has come."""
        try:
            poll = select.poll()
            poll.register(self._response.raw.fileno(), select.POLLIN)
        except (OSError, ValueError, AttributeError):  # closed, or without a socket
            time.sleep(seconds)
            return False
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        self._response.close()

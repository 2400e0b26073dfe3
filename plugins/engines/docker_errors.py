"""Docker's errors in Sluice's words: the one place where they enter.

Everything that speaks to Docker stands inside ``with translated("what is being done"):``. The engine's own words are kept in the message.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
import urllib3
from docker.credentials.errors import StoreError
from docker.errors import APIError, DockerException

from contracts.errors import EngineError, EngineGoneError, PullError, SluiceError

_NOT_ANSWERING = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)


@contextmanager
def translated(doing: str, raises: type[SluiceError] = EngineError, hint_for: Callable[[str], str] | None = None) -> Iterator[None]:
    """Docker's answers of refusal become ``raises`` with its words and ``hint_for(words)``; no answer at all becomes ``EngineGoneError``."""
    try:
        yield
    except APIError as error:
        words = explanation(error)
        raise raises(f"{doing}: {words}", hint=hint_for(words) if hint_for else "", status=error.status_code) from error
    except StoreError as error:
        raise PullError(
            f"{doing}: {error}", hint="The credential helper named in Docker's config.json failed: mend or remove it."
        ) from error
    except _NOT_ANSWERING as error:
        raise gone(doing, error) from error
    except (DockerException, OSError) as error:
        # The SDK wraps what it meets while it asks for the version; a plain OSError comes from files of ours.
        if isinstance(error, DockerException) and _causes(error, *_NOT_ANSWERING, OSError):
            raise gone(doing, error) from error
        raise raises(f"{doing}: {error}", hint=hint_for(str(error)) if hint_for else "") from error


def explanation(error: APIError) -> str:
    """The engine's own words, on one line where they were several."""
    return " ".join(str(error.explanation or error).split())


def gone(doing: str, error: Exception) -> EngineGoneError:
    return EngineGoneError(f"{doing}: the Docker Engine does not answer ({_innermost(error)})", hint=_gone_hint(error))


def _gone_hint(error: Exception) -> str:
    numbers = {cause.errno for cause in _causes(error, OSError) if isinstance(cause, OSError)}
    if errno.ENOENT in numbers:
        return "Its socket does not exist: install Docker Engine and start it (`systemctl start docker`), or set DOCKER_HOST."
    if numbers & {errno.EACCES, errno.EPERM}:
        return "You may not use its socket: join the group that owns it (`sudo usermod -aG docker $USER`), then log in again."
    if errno.ECONNREFUSED in numbers:
        return "Nobody listens on its socket: start it (`systemctl start docker`) and see `journalctl -u docker` if it does not stay up."
    if _causes(error, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        return "It took the question but gave no answer in time: the machine or its disk may be overloaded; see `journalctl -u docker`."
    return "Check that it runs (`docker info`) and that DOCKER_HOST is right; what it runs may well go on running."


def start_hint(words: str) -> str:
    """What to do about a container that could not be created or started, from the engine's words."""
    text = words.lower()
    return next((hint for parts, hint in _START_HINTS if any(part in text for part in parts)), "")


_START_HINTS = (
    (
        ("could not select device driver", "nvidia-container", "unresolvable cdi", "unknown runtime specified nvidia"),
        "The engine cannot give GPUs to containers: install the NVIDIA Container Toolkit and restart the engine; `sluice doctor` checks it.",
    ),
    (("exec format error",), "The image was built for another processor, or its start script lacks a first line such as #!/bin/bash."),
    (
        ("no such file or directory", "executable file not found"),
        "The image's command does not exist in it: check its CMD and /usr/bin/start.sh.",
    ),
    (
        ("bind source path does not exist", "invalid mount"),
        "A folder of the job vanished, or the engine runs on another machine than its folders.",
    ),
    (("no space left", "disk quota"), "The engine's disk is full: `docker system df` shows by what."),
    (
        ("permission denied", "operation not permitted"),
        "The engine may not use a file or folder: check who owns the job's folders (and SELinux).",
    ),
    (
        ("cannot allocate memory", "minimum memory limit"),
        "The memory limit is too small to start a process in, or the machine has no memory left.",
    ),
)


def pull_hint(words: str) -> str:
    """What to do about an image that could not be pulled, from the engine's or the registry's words."""
    text = words.lower()
    return next((hint for parts, hint in _PULL_HINTS if any(part in text for part in parts)), "")


_PULL_HINTS = (
    (
        ("pull access denied", "unauthorized", "authentication required", "denied", "no basic auth"),
        "Check the name; a private image needs `docker login` first.",
    ),
    (("manifest unknown", "not found", "does not exist"), "The registry has no such image or tag: check the reference."),
    (
        ("dial tcp", "no such host", "timeout", "connection refused", "unreachable", "deadline exceeded", "tls", "x509", "eof", "lookup"),
        "The registry could not be reached: check network, proxy and certificates of the engine, or load the image with `docker load`.",
    ),
    (("no space left",), "The engine's disk is full: `docker system df` shows by what."),
    (("too many requests", "toomanyrequests"), "The registry limits anonymous pulls: `docker login`, or try again later."),
    (("invalid reference", "cannot be pulled"), "Give a name such as registry/name:tag."),
)


def _causes(error: BaseException, *kinds: type[BaseException]) -> list[BaseException]:
    """The error and everything behind it (causes, contexts, wrapped arguments) that is of one of the kinds."""
    seen: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.append(current)
        parts = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting += [part for part in parts if isinstance(part, BaseException)]
    return [cause for cause in seen if isinstance(cause, kinds)]


def _innermost(error: Exception) -> str:
    system = [cause for cause in _causes(error, OSError) if getattr(cause, "strerror", None)]
    return str(getattr(system[-1], "strerror", "")) if system else str(error)

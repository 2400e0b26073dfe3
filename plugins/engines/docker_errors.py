"""Docker's errors in Sluice's words: the one place where they enter.

Everything that speaks to Docker stands inside ``with translated("what is being done"):``. The engine's own words are kept in the message.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from contracts.errors import EngineError, EngineGoneError, SluiceError, StartError
from plugins.engines.docker_http import NoAnswer, NotAsked, Refused


@contextmanager
def translated(doing: str, raises: type[SluiceError] = EngineError, hint_for: Callable[[str], str] | None = None) -> Iterator[None]:
    """Docker's answers of refusal become ``raises`` with its words and ``hint_for(words)``; no answer at all becomes ``EngineGoneError``."""
    try:
        yield
    except Refused as error:
        hint = hint_for(error.words) if hint_for else ""
        fields = {**gpu_fields(error.words), **_leftover_fields(error.words)} if raises is StartError else {}
        raise raises(f"{doing}: {error.words}", hint=hint, status=error.status, **fields) from error
    except NoAnswer as error:
        raise gone(doing, error) from error
    except (NotAsked, OSError) as error:  # an OSError of its own comes from files of ours
        raise raises(f"{doing}: {error}", hint=hint_for(str(error)) if hint_for else "") from error


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
    if any("timeout" in type(cause).__name__.lower() for cause in _causes(error, Exception)):  # the SDK's libraries have their own
        return "It took the question but gave no answer in time: the machine or its disk may be overloaded; see `journalctl -u docker`."
    return "Check that it runs (`docker info`) and that DOCKER_HOST is right; what it runs may well go on running."


def start_hint(words: str) -> str:
    """What to do about a container that could not be created or started, from the engine's words."""
    text = words.lower()
    return _gpu_trouble(text)[1] or next((hint for parts, hint in _START_HINTS if any(part in text for part in parts)), "")


def _leftover_fields(words: str) -> dict[str, Any]:
    """``engine_restarted``: a Docker Engine that was killed while it started the container cannot start it any more, but a new one."""
    return {"engine_restarted": True} if re.search(r"task \w+: already exists", words) else {}


def gpu_fields(words: str) -> dict[str, Any]:
    """``gpu`` names why a container could not be given its cards, ``gpu_uuids`` the cards that the engine names; {} for any other failure.

    ``toolkit_missing``, ``cdi_missing``, ``driver_failed`` and ``toolkit_failed`` are of the host, ``unknown_device`` and ``cdi_stale`` of
    single cards. Another start may succeed once it is mended; an image that wants a newer driver will not, and is no GPU trouble.
    """
    kind = _gpu_trouble(words.lower())[0]
    uuids = list(dict.fromkeys(_UUID.findall(words)))
    return ({"gpu": kind, "gpu_uuids": uuids} if uuids else {"gpu": kind}) if kind else {}


_UUID = re.compile(r"\b(?:GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*")


def _gpu_trouble(text: str) -> tuple[str, str]:
    """Kind and hint; two empty strings where GPUs are not what failed."""
    return next(((kind, hint) for kind, pattern, hint in _GPU_TROUBLES if re.search(pattern, text)), ("", ""))


# The first that fits counts, so the general words stand last.
_GPU_TROUBLES = (
    (
        "",
        "nvidia-container-cli: requirement error",
        "The image wants a newer NVIDIA driver than this host has: update the driver, or use another image.",
    ),
    (
        "cdi_stale",
        "unresolvable cdi device",
        "The engine's CDI list lacks the card: write it anew, `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; `sluice doctor` tries it.",
    ),
    (
        "cdi_missing",
        'could not select device driver "cdi"',
        'This engine cannot give GPUs by CDI: set gpu_injection = nvidia, or use engine 25 or newer, before 28 with "features": {"cdi": true}.',
    ),
    (
        "toolkit_missing",
        "could not select device driver|unknown (runtime specified|or invalid runtime name:) nvidia"
        "|nvidia-container-(runtime|toolkit|cli)[^:]*: (executable file not found|no such file)",
        "The engine cannot give GPUs to containers: install the NVIDIA Container Toolkit and restart the engine; `sluice doctor` checks it.",
    ),
    (
        "unknown_device",
        "nvidia-container-cli: device error",
        "The NVIDIA driver does not know the card, or its MIG slice was made anew: compare `nvidia-smi -L` with `sluice gpu list`.",
    ),
    (
        "driver_failed",
        r"nvidia-container-cli: (initialization|detection) error|libnvidia-ml\.so",
        "The NVIDIA driver does not answer the container toolkit: try `nvidia-smi`; after an update of the driver reboot the host.",
    ),
    (
        "toolkit_failed",
        "nvidia-container|nvidia-ctk|nvidia-cdi-hook|cdi device injection failed",
        "The NVIDIA Container Toolkit failed, as its words say; `sluice doctor` tries it without a job.",
    ),
)

_START_HINTS = (
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
        ("credentials store",),
        "The credential helper named in Docker's config.json failed: mend or remove it.",
    ),
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

"""Images on a Docker Engine: found, built, imported, and read without running them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contracts.errors import ImageError, ImageMissingError
from contracts.image import ImageFacts
from plugins.engines.archive import read_folder
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import pull_hint, translated
from plugins.engines.docker_http import Refused
from plugins.engines.docker_spec import READER_LABEL

_SHOWN_LINES = 20


def image_path(reference: str) -> str:
    return f"/images/{quote(reference, safe='/:@')}"


def find(client: DockerClient, reference: str) -> ImageFacts | None:
    with translated(f"look for image {reference}"):
        try:
            raw = client.get(f"{image_path(reference)}/json") if reference else None
        except Refused as error:
            if error.status in (400, 404):  # 400: not a name that any image can have
                return None
            raise
    return None if raw is None else _facts(reference, raw)


def _facts(reference: str, raw: Mapping[str, Any]) -> ImageFacts:
    config = raw.get("Config") or {}
    return ImageFacts(
        reference=reference,
        digest=raw["Id"],
        size_bytes=raw.get("Size") or 0,
        architecture=raw.get("Architecture") or "",
        labels=config.get("Labels") or {},
        has_command=bool(config.get("Cmd") or config.get("Entrypoint")),
    )


def need(client: DockerClient, reference: str) -> ImageFacts:
    facts = find(client, reference)
    if facts is None:
        raise missing(f"the Docker Engine has no image {reference}", reference)
    return facts


def missing(message: str, reference: str) -> ImageMissingError:
    return ImageMissingError(message, hint="Build it, pull it or load it.", image=reference)


# --------------------------------------------------------------------------------------------------------------- build


def build(
    client: DockerClient, folder: Path, reference: str, build_args: Mapping[str, str], on_output: Callable[[str], None]
) -> ImageFacts:
    """The classic builder, which every engine has; .dockerignore is honoured and intermediate containers are removed, also on failure."""
    if not (folder / "Dockerfile").is_file():
        raise ImageError(f"{folder} cannot be built: it has no Dockerfile", hint="Copy images/_template to begin.", folder=str(folder))
    doing = f"build {reference} from {folder}"
    for line in _build_lines(_build_events(client, folder, reference, build_args, doing), doing):
        on_output(line)
    return _made(client, reference, doing)


def _build_events(
    client: DockerClient, folder: Path, reference: str, build_args: Mapping[str, str], doing: str
) -> Iterator[Mapping[str, Any]]:
    from plugins.engines import docker_sdk

    with translated(doing, ImageError, _build_hint):
        yield from docker_sdk.build_events(client.version, folder, reference, build_args)


def _build_lines(events: Iterable[Mapping[str, Any]], doing: str) -> Iterator[str]:
    step: deque[str] = deque(maxlen=_SHOWN_LINES)
    for event in events:
        if words := error_of(event):
            shown = "\n".join([*step, words])
            raise ImageError(f"{doing} failed:\n{shown}", hint=_build_hint(words), lines=list(step))
        for line in str(event.get("stream") or event.get("status") or "").splitlines():
            if line.startswith("Step "):
                step.clear()
            if line.strip():
                step.append(line)
                yield line


def error_of(event: Mapping[str, Any]) -> str:
    """The engine's words when the event of a pull or a build says that it failed; newer engines leave out the plain ``error``."""
    detail = event.get("errorDetail")
    return str(event.get("error") or (detail.get("message") if isinstance(detail, Mapping) else detail) or "")


def _build_hint(words: str) -> str:
    if "unknown flag" in words.lower() or "unknown instruction" in words.lower():
        return "The Dockerfile uses BuildKit's syntax: write it without RUN --mount and here-documents."
    return pull_hint(words) or "Mend the Dockerfile's step shown above, then build again."


def import_tar(client: DockerClient, tar: Path, reference: str) -> ImageFacts:
    from plugins.engines import docker_sdk

    doing = f"import {tar} as {reference}"
    if not tar.is_file():
        raise ImageError(f"{doing}: there is no such file", hint="Name the tar of a root file system.")
    repository, _, tag = reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "latest")
    with translated(doing, ImageError):
        docker_sdk.import_tar(client.version, tar, repository, tag)
    return _made(client, reference, doing)


def _made(client: DockerClient, reference: str, doing: str) -> ImageFacts:
    facts = find(client, reference)
    if facts is None:
        raise ImageError(f"{doing}: the engine ended without making the image", hint="See `journalctl -u docker`.")
    return facts


# ---------------------------------------------------------------------------------------------------------- read files


def read_files(client: DockerClient, reference: str, folder: str, max_bytes: int) -> dict[str, bytes]:
    """From a container that is created, never started and always removed. A folder that is a link is followed inside the image."""
    need(client, reference)
    remove_leftover_readers(client)
    with translated(f"read {folder} of image {reference}"), _never_started(client, reference) as container_id:
        try:
            # The dot makes the engine resolve a link, within the image, and refuse what is no folder.
            with client.open("GET", f"/containers/{container_id}/archive", {"path": f"{folder.rstrip('/')}/."}) as answer:
                return read_folder(answer.pieces(), folder, max_bytes)
        except Refused as error:
            if error.status in (400, 404) or "not a directory" in error.words.lower():
                return {}
            raise


@contextmanager
def _never_started(client: DockerClient, reference: str) -> Iterator[str]:
    config = {
        "Image": reference,
        "Entrypoint": ["-"],  # no program of the image, should anybody start it
        "Labels": {READER_LABEL: "1"},
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none"},
    }
    container_id: str = client.ask("POST", "/containers/create", body=config)["Id"]
    try:
        yield container_id
    finally:
        client.remove(container_id)


def remove_leftover_readers(client: DockerClient, older_than_s: float = 3600.0) -> None:
    """Removes the containers that a kill in the middle of ``read_files`` left behind; a younger one may be at work."""
    with translated("remove leftover containers"):
        wanted = {"label": [READER_LABEL], "status": ["created"]}
        for container in client.get("/containers/json", all=True, filters=wanted):
            if container["Created"] < time.time() - older_than_s:
                with suppress(Refused):  # another runner removes it too
                    client.remove(container["Id"])

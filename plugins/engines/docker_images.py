"""Images on a Docker Engine: found, pulled, built, imported, and read without running them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound

from contracts.errors import ImageError, ImageMissingError, PullError
from contracts.image import ImageFacts
from plugins.engines.archive import read_folder
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import pull_hint, translated
from plugins.engines.docker_spec import READER_LABEL

_PROGRESS_EVERY_S = 1.0
_SHOWN_LINES = 20


def find(client: DockerClient, reference: str) -> ImageFacts | None:
    with translated(f"look for image {reference}"):
        try:
            raw = client.api.inspect_image(reference) if reference else None
        except NotFound:
            return None
        except APIError as error:
            if error.status_code == 400:  # not a name that any image can have
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
        raise ImageMissingError(f"the Docker Engine has no image {reference}", hint="Build it, pull it or load it.", image=reference)
    return facts


# ---------------------------------------------------------------------------------------------------------------- pull


def pull(client: DockerClient, reference: str, on_progress: Callable[[str], None]) -> ImageFacts:
    """What the stream says is only shown: whether the image came is asked of the engine at the end."""
    doing = f"pull {reference}"
    if reference.startswith("sha256:"):
        raise PullError(f"{doing}: an image id cannot be pulled", hint=pull_hint("cannot be pulled"))
    for line in _pull_lines(_pull_events(client, reference, doing), doing):
        on_progress(line)
    facts = find(client, reference)
    if facts is None:
        raise PullError(f"{doing}: the engine said that it was done, but it does not have the image", hint="See `journalctl -u docker`.")
    return facts


def _pull_events(client: DockerClient, reference: str, doing: str) -> Iterator[Mapping[str, Any]]:
    with translated(doing, PullError, pull_hint):
        yield from client.api.pull(reference, stream=True, decode=True)


def _pull_lines(events: Iterable[Mapping[str, Any]], doing: str) -> Iterator[str]:
    """One line when a layer's state changes and, each second, one with the bytes of all layers; the totals are the engine's guess."""
    states: dict[str, str] = {}
    layers: dict[str, tuple[int, int]] = {}
    shown = time.monotonic()
    for event in events:
        if "error" in event:
            raise PullError(f"{doing}: {event['error']}", hint=pull_hint(str(event["error"])))
        layer, state, detail = event.get("id") or "", event.get("status") or "", event.get("progressDetail") or {}
        if "current" in detail:
            layers[layer] = (detail["current"], max(detail.get("total") or 0, detail["current"]))
            if time.monotonic() - shown >= _PROGRESS_EVERY_S:
                shown = time.monotonic()
                yield _bytes_line(layers)
        elif state and states.get(layer) != state:
            states[layer] = state
            yield f"{layer}: {state}" if layer else state


def _bytes_line(layers: Mapping[str, tuple[int, int]]) -> str:
    done, total = (sum(values) / 1e6 for values in zip(*layers.values(), strict=True))
    return f"{done:.1f} of {total:.1f} MB in {len(layers)} layers"


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
    with translated(doing, ImageError, _build_hint):
        yield from client.api.build(path=str(folder), tag=reference, buildargs=dict(build_args), rm=True, forcerm=True, decode=True)


def _build_lines(events: Iterable[Mapping[str, Any]], doing: str) -> Iterator[str]:
    step: deque[str] = deque(maxlen=_SHOWN_LINES)
    for event in events:
        if "error" in event:
            words = str(event["error"])
            shown = "\n".join([*step, words])
            raise ImageError(f"{doing} failed:\n{shown}", hint=_build_hint(words), lines=list(step))
        for line in str(event.get("stream") or event.get("status") or "").splitlines():
            if line.startswith("Step "):
                step.clear()
            if line.strip():
                step.append(line)
                yield line


def _build_hint(words: str) -> str:
    if "unknown flag" in words.lower() or "unknown instruction" in words.lower():
        return "The Dockerfile uses BuildKit's syntax: write it without RUN --mount and here-documents."
    return pull_hint(words) or "Mend the Dockerfile's step shown above, then build again."


def import_tar(client: DockerClient, tar: Path, reference: str) -> ImageFacts:
    doing = f"import {tar} as {reference}"
    if not tar.is_file():
        raise ImageError(f"{doing}: there is no such file", hint="Name the tar of a root file system.")
    repository, _, tag = reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "latest")
    with translated(doing, ImageError):
        client.api.import_image(src=str(tar), repository=repository, tag=tag, changes='CMD ["bash"]')
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
            with client.stream(container_id, "archive", {"path": f"{folder.rstrip('/')}/."}) as chunks:
                return read_folder(chunks, folder, max_bytes)
        except APIError as error:
            if error.status_code in (400, 404) or "not a directory" in str(error).lower():
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
    container_id: str = client.api.create_container_from_config(config)["Id"]
    try:
        yield container_id
    finally:
        client.api.remove_container(container_id, v=True, force=True)


def remove_leftover_readers(client: DockerClient, older_than_s: float = 3600.0) -> None:
    """Removes the containers that a kill in the middle of ``read_files`` left behind; a younger one may be at work."""
    with translated("remove leftover containers"):
        for container in client.api.containers(all=True, filters={"label": READER_LABEL, "status": "created"}):
            if container["Created"] < time.time() - older_than_s:
                with suppress(APIError):  # another runner removes it too
                    client.api.remove_container(container["Id"], v=True, force=True)

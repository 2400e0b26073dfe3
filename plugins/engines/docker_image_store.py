"""What images a Docker Engine keeps, and how they leave it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.errors import ConflictError
from contracts.image import ImageFacts
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import translated
from plugins.engines.docker_http import Refused
from plugins.engines.docker_images import image_path


def list_all(client: DockerClient) -> list[ImageFacts]:
    """As the seam says. Layers that are only steps of a build are no images."""
    with translated("list images"):
        raw = client.get("/images/json")
    found = [facts for image in raw for facts in _named(image)]
    return sorted(found, key=lambda facts: (facts.reference, facts.digest))


def _named(image: Mapping[str, Any]) -> Iterator[ImageFacts]:
    for reference in _references(image) or [""]:
        yield ImageFacts(reference=reference, digest=image["Id"], size_bytes=image.get("Size") or 0, labels=image.get("Labels") or {})


def _references(image: Mapping[str, Any]) -> list[str]:
    """The tags; of an image that lost its tags the names by digest. The engine writes ``<none>`` where there is nothing."""
    tags = [tag for tag in image.get("RepoTags") or [] if "<none>" not in tag]
    return tags or [name for name in image.get("RepoDigests") or [] if "<none>" not in name]


def remove(client: DockerClient, reference: str) -> int:
    """As the seam says; the bytes are of the layers that no other image uses, before the disk's own rounding."""
    with translated(f"remove image {reference}"):
        try:
            image, history = client.get(f"{image_path(reference)}/json"), client.get(f"{image_path(reference)}/history")
        except Refused as error:
            if error.status == 404:
                return 0
            raise
        _refuse_used(client, image["Id"], reference)
        names = [*_references(image), image["Id"]] if reference.startswith("sha256:") else [reference]
        deleted = [entry for name in names for entry in _remove_one(client, name)]
    return _freed_bytes(image, history, deleted)


def _refuse_used(client: DockerClient, digest: str, reference: str) -> None:
    """Before any name is taken: the engine would refuse only the last one."""
    for container in client.get("/containers/json", all=True, filters={"ancestor": [digest]}):
        if container["ImageID"] == digest:  # the filter also finds containers of images that were built on it
            raise _conflict(reference, f"container {container['Names'][0].lstrip('/')} uses it")


def _remove_one(client: DockerClient, name: str) -> list[str]:
    """What the engine says it deleted: ids of images and of layers."""
    try:
        return [entry["Deleted"] for entry in client.ask("DELETE", image_path(name)) if "Deleted" in entry]
    except Refused as error:
        if error.status == 409:
            raise _conflict(name, error.words) from error
        if error.status == 404:  # another name took it along
            return []
        raise


def _conflict(reference: str, why: str) -> ConflictError:
    return ConflictError(
        f"remove image {reference}: {why}", hint="Remove what uses it first (`docker ps -a`, `docker images`).", image=reference
    )


def _freed_bytes(image: Mapping[str, Any], history: Sequence[Mapping[str, Any]], deleted: Sequence[str]) -> int:
    """Layers leave from the top. The containerd store (which gives images a descriptor) names none: then the whole image counts if it went."""
    if image.get("Descriptor"):
        return int(image.get("Size") or 0) if image["Id"] in deleted else 0
    gone = len(_chain_ids((image.get("RootFS") or {}).get("Layers") or []) & set(deleted))
    return sum([entry["Size"] for entry in history if entry["Size"]][:gone])


def _chain_ids(layers: Sequence[str]) -> set[str]:
    """The ids that the engine deletes layers by, of the ids of their contents, lowest layer first (OCI image specification, ChainID)."""
    ids: list[str] = []
    for layer in layers:
        ids.append(f"sha256:{hashlib.sha256(f'{ids[-1]} {layer}'.encode()).hexdigest()}" if ids else layer)
    return set(ids)

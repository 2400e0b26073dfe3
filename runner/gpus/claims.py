"""Which devices the running containers were given, from the engine's words for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from contracts.gpu import Gpu

#: As ``Engine.gpu_claims`` tells them: the containers that were given a device, by the name that it was asked for.
Claims: TypeAlias = Mapping[str, tuple[str, ...]]
_ALL = "*"
_LEGACY_SLICE = re.compile(r"MIG-(?P<card>GPU-[^/]+)/(?P<gpu_instance>\d+)/(?P<compute_instance>\d+)")


def containers_by_device(gpus: Sequence[Gpu], claims: Claims) -> dict[str, tuple[str, ...]]:
    """The names of the containers that were given each device, by its uuid.

    A device stands in the claims by uuid, by index as ``--gpus device=0`` gives it, as ``0:1`` for the second slice of card 0, as
    ``MIG-GPU-<uuid>/1/0`` as drivers before 470 name slices, or as ``*`` for all. Who was given a card has its slices too.
    """
    names = _names(gpus)
    found: dict[str, list[str]] = {}
    for claimed, containers in claims.items():
        for uuid in names.get(claimed) or _legacy(gpus, claimed):
            found.setdefault(uuid, []).extend(containers)
    return {uuid: tuple(sorted(set(containers))) for uuid, containers in found.items()}


def names_in(claims: Claims) -> frozenset[str]:
    """All containers that were given any device."""
    return frozenset(name for names in claims.values() for name in names)


def merged(claims: Sequence[Claims]) -> dict[str, tuple[str, ...]]:
    """Those of several engines as one."""
    devices = dict.fromkeys(device for told in claims for device in told)
    return {device: tuple(name for told in claims for name in told.get(device, ())) for device in devices}


def _names(gpus: Sequence[Gpu]) -> dict[str, list[str]]:
    """The devices that each name means."""
    slices: dict[str, list[str]] = {}
    for gpu in gpus:
        if gpu.kind == "mig":
            slices.setdefault(gpu.parent_uuid, []).append(gpu.uuid)
    names = {_ALL: [gpu.uuid for gpu in gpus], **{gpu.uuid: [gpu.uuid] for gpu in gpus}}
    for gpu in gpus:
        if gpu.kind != "mig":
            own = slices.get(gpu.uuid, [])
            names[gpu.uuid] = names[str(gpu.index)] = [gpu.uuid, *own]
            names.update({f"{gpu.index}:{position}": [uuid] for position, uuid in enumerate(own)})
    return names


def _legacy(gpus: Sequence[Gpu], claimed: str) -> Iterator[str]:
    match = _LEGACY_SLICE.fullmatch(claimed)
    if match is None:
        return
    instances = (int(match["gpu_instance"]), int(match["compute_instance"]))
    for gpu in gpus:
        if gpu.kind == "mig" and gpu.parent_uuid == match["card"] and (gpu.gpu_instance, gpu.compute_instance) == instances:
            yield gpu.uuid

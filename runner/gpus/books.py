"""The three books, and what is on record of devices and pools, read at one moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.gpu import Gpu, GpuProcess, Snapshot
from contracts.job import GpuWish
from registry.gpus import DeviceRecord, PoolRecord
from registry.leases import LeaseRecord
from runner.gpus.claims import Claims, containers_by_device, names_in
from runner.gpus.host import PROC
from runner.gpus.owners import Process, processes_on

if TYPE_CHECKING:
    from runner.gpus.cards import Card

#: Memory that may be in use on a card without a process: drivers before 510 count their own reserve (0.6 GiB on large cards) as used.
IDLE_BYTES = 1024**3
DEFAULT_POOL = PoolRecord("")


@dataclass(frozen=True)
class Books:
    """One reading of a host. The cards were read first: what started on one after that has a lease that was read later.

    ``claims`` is the engine's, ``engine_error`` why it could not be read, '' when it was. ``own`` are job and attempt by the ids of our containers,
    ``unleased`` those of our jobs' containers that hold cards without a lease, by name. ``owners`` are user and project of the jobs with leases,
    ``runner_containers`` the containers that this process itself runs in, () for none.
    """

    host: str
    snapshot: Snapshot
    claims: Claims = field(default_factory=dict)
    leases: tuple[LeaseRecord, ...] = ()
    devices: Mapping[str, DeviceRecord] = field(default_factory=dict)
    pools: Mapping[str, PoolRecord] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    own: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    unleased: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    engine_error: str = ""
    runner_containers: tuple[str, ...] = ()
    idle_bytes: int = IDLE_BYTES
    proc: Path = PROC
    read_at: float = field(default_factory=time.time)
    #: What was found for a wish, whoever asks: many jobs of a queue wish the same.
    found: dict[GpuWish, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def cards(self) -> tuple[Card, ...]:
        """Every device with its state: cards by index, each followed by its slices; what is missing comes last."""
        from runner.gpus.classification import classify

        return classify(self)

    def card(self, uuid: str) -> Card:
        """One device alone, so that the processes of the others are not looked for. Raises ``KeyError`` for one that is not there."""
        from runner.gpus.classification import classify_one

        return classify_one(self, self.gpus[uuid])

    @cached_property
    def gpus(self) -> Mapping[str, Gpu]:
        return {gpu.uuid: gpu for gpu in self.snapshot.gpus}

    @cached_property
    def leases_on(self) -> Mapping[str, tuple[LeaseRecord, ...]]:
        """By device; more than one where it is shared."""
        found: dict[str, tuple[LeaseRecord, ...]] = {}
        for lease in self.leases:
            for uuid in lease.uuids:
                found[uuid] = (*found.get(uuid, ()), lease)
        return found

    @cached_property
    def claimants(self) -> Mapping[str, tuple[str, ...]]:
        """The containers that were given each device, by name."""
        return containers_by_device(self.snapshot.gpus, self.claims)

    @cached_property
    def running(self) -> frozenset[str]:
        """Names of the running containers that were given any device."""
        return names_in(self.claims)

    def given_to(self, container: str) -> tuple[str, ...]:
        """The uuids that a running container was given by uuid, as ours always are; also those that are no longer there."""
        known = {*self.gpus, *self.devices}
        return tuple(sorted(uuid for uuid, names in self.claims.items() if container in names and uuid in known))

    def processes(self, gpu: Gpu) -> tuple[Process, ...]:
        """With whose they are; () also where the driver does not tell."""
        return processes_on(_listed(gpu), self.own, self.snapshot.taken_at, self.proc)

    def pool_of(self, uuid: str) -> PoolRecord:
        """A slice that is in no pool itself is in its card's; a pool that is not on record is a drained one of that name."""
        name = next((device.pool for device in self.device_and_card(uuid) if device.pool), "")
        return DEFAULT_POOL if not name else self.pools.get(name, PoolRecord(name, drained=True))

    def is_drained(self, uuid: str) -> bool:
        """By an operator: the device, its card, or its pool."""
        return any(device.drained for device in self.device_and_card(uuid)) or self.pool_of(uuid).drained

    def device_and_card(self, uuid: str) -> list[DeviceRecord]:
        """What is on record of the device, and of the card that it is a slice of."""
        gpu, device = self.gpus.get(uuid), self.devices.get(uuid)
        parent = gpu.parent_uuid if gpu else device.parent_uuid if device else ""
        return [self.devices[name] for name in (uuid, parent) if name in self.devices]

    def without(self, lease: LeaseRecord) -> Books:
        """As if there were no such lease: what is on its cards then is somebody else's."""
        return replace(self, leases=tuple(other for other in self.leases if other.id != lease.id), found={})


def _listed(gpu: Gpu) -> tuple[GpuProcess, ...]:
    return gpu.processes or ()

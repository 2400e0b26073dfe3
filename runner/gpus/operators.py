"""What an operator says of cards and pools."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy.orm import Session

from contracts.errors import ConflictError, GpuSourceError, NotFoundError, RequestError
from contracts.gpu import Snapshot
from contracts.image import Kind
from registry import gpus, leases
from registry.gpus import EventRecord, PoolRecord
from runner.gpus.books import Books
from runner.gpus.reading import READ_TIMEOUT_S, Reader
from runner.gpus.rounds import new_device

_SHORTEST_PREFIX = 4


class Operators:
    """Pools, drains, and the word that a card is healthy. A card is named by uuid, the beginning of one, or index."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._database = reader.database
        self._host = reader.host

    # --------------------------------------------------------------------------------------------------------------- pools

    def list_pools(self) -> list[dict[str, Any]]:
        """By name, each with the uuids that are in it."""
        with self._database.reading() as session:
            return [self._pool_view(session, pool) for pool in gpus.list_pools(session)]

    def put_pool(self, name: str, *, kinds: Sequence[str] | None = None, **values: Any) -> dict[str, Any]:
        """As ``registry.gpus.put_pool``; kinds are checked."""
        checked = None if kinds is None else [_kind(kind) for kind in kinds]
        with self._database.writing() as session:
            return self._pool_view(session, gpus.put_pool(session, name, kinds=checked, **values))

    def remove_pool(self, name: str) -> dict[str, Any]:
        with self._database.writing() as session:
            gpus.remove_pool(session, name)
        return {"removed": name}

    def assign(self, card: str, pool: str) -> str:
        """The uuid of the card, which is in the pool from now on."""
        uuid = self._known(card)
        with self._database.writing() as session:
            if pool:
                gpus.get_pool(session, pool)
            gpus.set_device(session, self._host, uuid, pool=pool)
            gpus.add_event(session, self._host, uuid, "assigned", detail={"pool": pool})
        return uuid

    # -------------------------------------------------------------------------------------------------------------- drains

    def find_pool(self, name: str) -> str | None:
        with self._database.reading() as session:
            return next((pool.name for pool in gpus.list_pools(session) if pool.name == name), None)

    def drain(self, card: str, *, on: bool) -> str:
        """The uuid of the card that gets no new jobs, or gets them again."""
        uuid = self._known(card)
        with self._database.writing() as session:
            gpus.set_device(session, self._host, uuid, drained=on)
            gpus.add_event(session, self._host, uuid, "drained" if on else "undrained")
        return uuid

    def clear(self, card: str) -> tuple[str, bool]:
        """The uuid of a card that is healthy by somebody's word, and whether it is still on record: one that is missing is forgotten."""
        uuid = self._known(card)
        with self._database.writing() as session:
            devices = {device.uuid: device for device in gpus.list_devices(session, self._host)}
            if devices[uuid].missing_since is not None:
                self._forget(session, uuid)
                return uuid, False
            for device in devices.values():
                if uuid in (device.uuid, device.parent_uuid):
                    counters = {**device.counters, "troubled_at": 0.0}
                    gpus.save_devices(session, [replace(device, reasons=(), health="ok", counters=counters)])
            gpus.add_event(session, self._host, uuid, "cleared")
        return uuid, True

    def _forget(self, session: Session, uuid: str) -> None:
        holders = [lease.job_id for lease in leases.list_open(session, self._host) if uuid in lease.uuids]
        if holders:
            raise ConflictError(f"job {holders[0]} holds the missing GPU {uuid}", hint="Cancel the job first.", job=holders[0])
        gpus.remove_devices(session, self._host, [uuid])
        gpus.add_event(session, self._host, uuid, "forgotten")

    # -------------------------------------------------------------------------------------------------------------- events

    def list_events(self, card: str | None, limit: int) -> list[dict[str, Any]]:
        uuid = None if card is None else self.resolve(card)
        with self._database.reading() as session:
            found = gpus.list_events(session, host=self._host, uuid=uuid, limit=limit)
        return [_event_view(event) for event in found]

    # --------------------------------------------------------------------------------------------------------------- names

    def resolve(self, card: str) -> str:
        """The uuid of a card by uuid, the beginning of one, or index. Raises ``NotFoundError`` naming those there are."""
        return _resolve(card, self._snapshot(), self._recorded())

    def _known(self, card: str) -> str:
        """As ``resolve``, and the card is on record afterwards."""
        snapshot, recorded = self._snapshot(), self._recorded()
        uuid = _resolve(card, snapshot, recorded)
        gpu = next((gpu for gpu in snapshot.gpus if gpu.uuid == uuid), None)
        if uuid not in recorded and gpu is not None:
            with self._database.writing() as session:
                gpus.save_devices(session, [new_device(Books(self._host, snapshot), gpu, time.time())])
        return uuid

    def _snapshot(self) -> Snapshot:
        """Empty when the source fails: what is on record can be named all the same."""
        with suppress(GpuSourceError):
            return self._reader.source.snapshot(READ_TIMEOUT_S)
        return Snapshot(())

    def _recorded(self) -> set[str]:
        with self._database.reading() as session:
            return {device.uuid for device in gpus.list_devices(session, self._host)}

    def _pool_view(self, session: Session, pool: PoolRecord) -> dict[str, Any]:
        members = sorted(uuid for host, uuid in gpus.members_of(session, pool.name) if host == self._host)
        shown = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(pool).items()}
        return {**shown, "gpus": members}


def _kind(name: str) -> str:
    known = [str(kind) for kind in Kind]
    if name not in known:
        raise RequestError(f"{name!r} is no kind of job", hint=f"Known: {', '.join(known)}.", kind=name)
    return name


def _resolve(card: str, snapshot: Snapshot, recorded: set[str]) -> str:
    known = {gpu.uuid for gpu in snapshot.gpus} | recorded
    by_index = {str(gpu.index): gpu.uuid for gpu in snapshot.gpus if gpu.kind == "gpu"}
    found = {card} & known or {by_index[card]} if card in by_index else {card} & known
    if not found and len(card) >= _SHORTEST_PREFIX:
        found = {uuid for uuid in known if uuid.lower().startswith(card.lower())}
    if len(found) != 1:
        meant = f"{card!r} begins {len(found)} uuids" if found else f"there is no GPU {card!r}"
        raise NotFoundError(meant, hint=f"Known: {', '.join(sorted(found or known)) or 'none'}.", gpu=card)
    return found.pop()


def _event_view(event: EventRecord) -> dict[str, Any]:
    return {
        "time": event.created_at.isoformat(),
        "uuid": event.uuid,
        "kind": event.kind,
        "job": event.job_id,
        "detail": dict(event.detail),
    }

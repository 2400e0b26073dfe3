"""The look at all cards every few seconds: keeps the record of devices and what happened to them, and finds the jobs it concerns."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from contracts.gpu import Gpu, GpuEvent
from registry import gpus
from registry.gpus import DeviceRecord
from registry.leases import LeaseRecord, LeaseState
from runner.gpus.books import Books
from runner.gpus.cards import Card, CardState
from runner.gpus.classification import taints_on
from runner.gpus.findings import Finding, GpuLost, LeaseHolder, Orphan, Violated
from runner.gpus.health import Surroundings, Xid, diagnose, weigh
from runner.gpus.reading import Reader
from runner.gpus.xid import XidPolicy

log = logging.getLogger(__name__)
#: An error that only follows from another comes within this time.
_XIDS_KEPT_S = 60.0
#: A card that nobody uses and yet is not empty is told of once, after this long.
_ALERT_AFTER_S = 120.0
#: A driver that is being replaced shows no card at all for a moment.
_ALL_GONE_FOR_S = 30.0
_SEEN_EVERY = timedelta(minutes=1)
_SLICES_KEPT = timedelta(days=7)
_EVENTS_KEPT = timedelta(days=90)
_FORGET_EVERY_S = 86_400.0
_ENDED = (LeaseState.RELEASING, LeaseState.STUCK)


@dataclass
class _Changes:
    """What a look writes."""

    devices: list[DeviceRecord] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    events: list[tuple[str, str, str | None, Mapping[str, Any]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.devices or self.removed or self.events)


class Rounds:
    """One for each service; not safe between threads. ``clock`` is Unix seconds."""

    def __init__(self, reader: Reader, policy: Callable[[], XidPolicy], clock: Callable[[], float] = time.time) -> None:
        self._reader = reader
        self._policy = policy
        self._clock = clock
        self._recent: list[GpuEvent] = []
        self._pending: list[GpuEvent] = []
        self._forgot_at = 0.0

    def look(self, holders: Iterable[LeaseHolder]) -> list[Finding]:
        """As ``GpuPool.reconcile``."""
        self._pending += self._reader.source.events()
        books, now = self._reader.read(engine_needed=False), self._clock()
        xids = self._weighed()
        if _changes(books, books.devices, xids, now):
            books = self._write(books, xids, now)
        self._recent, self._pending = [*self._recent, *self._pending], []  # not before they are on record
        self._forget(now)
        return findings(books, holders, now)

    def _weighed(self) -> list[Xid]:
        """New Xid errors, weighed with those of the minute before."""
        if not self._pending:
            return []
        self._recent = [event for event in self._recent if self._pending[0].time - event.time <= _XIDS_KEPT_S]
        return weigh([*self._recent, *self._pending], self._policy())[len(self._recent) :]

    def _write(self, books: Books, xids: Sequence[Xid], now: float) -> Books:
        """By the record as it is in the transaction: an operator may have changed it since it was read."""
        with self._reader.database.writing() as session:
            devices = {device.uuid: device for device in gpus.list_devices(session, books.host)}
            changes = _changes(books, devices, xids, now)
            gpus.save_devices(session, changes.devices)
            gpus.remove_devices(session, books.host, changes.removed)
            for uuid, kind, job_id, detail in changes.events:
                gpus.add_event(session, books.host, uuid, kind, job_id=job_id, detail=detail)
        changed = {device.uuid: device for device in changes.devices}
        kept = {uuid: device for uuid, device in {**devices, **changed}.items() if uuid not in changes.removed}
        return replace(books, devices=kept, found={})

    def _forget(self, now: float) -> None:
        if now - self._forgot_at < _FORGET_EVERY_S:
            return
        self._forgot_at = now
        with self._reader.database.writing() as session:
            gpus.remove_events(session, self._reader.host, _time(now) - _EVENTS_KEPT)


# ------------------------------------------------------------------------------------------------------ the record of devices


def new_device(books: Books, gpu: Gpu, now: float) -> DeviceRecord:
    """A device as it is put on record when it is first seen."""
    moment = _time(now)
    return _with_facts(DeviceRecord(books.host, gpu.uuid, gpu.kind, "", "", "", 0, -1, "", "", "", moment, moment), gpu, books)


def _changes(books: Books, devices: Mapping[str, DeviceRecord], xids: Sequence[Xid], now: float) -> _Changes:
    """First the health of every device, then what that makes of their states."""
    changes = _Changes()
    _note_xids(changes, books, xids)
    seen = {gpu.uuid: _seen(changes, books, devices.get(gpu.uuid), gpu, xids, now) for gpu in books.snapshot.gpus}
    after = {**devices, **{uuid: device for uuid, device in seen.items() if device}}
    for uuid in devices.keys() - seen.keys():
        after[uuid] = _unseen(changes, books, devices[uuid], xids, now)
    cards = replace(books, devices=after, found={}).cards
    for card in cards:
        if card.uuid in after:
            after[card.uuid] = _with_state(changes, after[card.uuid], card, now)
    changes.devices = [device for uuid, device in after.items() if device != devices.get(uuid)]
    changes.removed = [uuid for uuid, device in after.items() if _is_past(device, books, now)]
    return changes


def _note_xids(changes: _Changes, books: Books, xids: Iterable[Xid]) -> None:
    for xid in xids:
        event = xid.event
        detail = {"xid": event.xid, "effect": str(xid.effect), "meaning": xid.rule.meaning, "time": event.time}
        jobs = {lease.job_id for uuid in _reach(books, event) for lease in books.leases_on.get(uuid, ())}
        log.warning("%s: %s, jobs %s", event.uuid, xid.text, ", ".join(sorted(jobs)) or "none")
        concerned: list[str | None] = [*sorted(jobs)] or [None]
        changes.events += [(event.uuid, "xid", job_id, detail) for job_id in concerned]


def _targets(books: Books, event: GpuEvent) -> set[str]:
    """The slice that an error is about, where it says so, else the card."""
    instances = [gpu for gpu in books.snapshot.gpus if gpu.parent_uuid == event.uuid and gpu.gpu_instance == event.gpu_instance]
    if event.gpu_instance is None or not instances:
        return {event.uuid}
    exact = [gpu for gpu in instances if gpu.compute_instance == event.compute_instance]
    return {gpu.uuid for gpu in exact or instances}


def _reach(books: Books, event: GpuEvent) -> set[str]:
    """With the slices of a card that is hit as a whole."""
    targets = _targets(books, event)
    return targets | {gpu.uuid for gpu in books.snapshot.gpus if gpu.parent_uuid in targets}


def _seen(changes: _Changes, books: Books, device: DeviceRecord | None, gpu: Gpu, xids: Sequence[Xid], now: float) -> DeviceRecord | None:
    """The record of a device that is there; None for a broken one that was never seen well."""
    if device is None and gpu.error:
        return None
    if device is None:
        changes.events.append((gpu.uuid, "found", None, {"model": gpu.name, "index": gpu.index}))
    elif device.missing_since:
        changes.events.append((gpu.uuid, "returned", None, {"missing_since": device.missing_since.isoformat()}))
    record = _examined(changes, books, device or new_device(books, gpu, now), gpu, xids, now)
    record = replace(record, missing_since=None) if gpu.error else _with_facts(replace(record, missing_since=None), gpu, books)
    stale = record != device or _time(now) - record.last_seen >= _SEEN_EVERY
    return replace(record, last_seen=_time(now)) if stale else record


def _unseen(changes: _Changes, books: Books, device: DeviceRecord, xids: Sequence[Xid], now: float) -> DeviceRecord:
    """The record of a device that is not there."""
    gone = Gpu(uuid=device.uuid, index=-1, error="not there")
    record = _examined(changes, books, device, gone, xids, now)
    if record.missing_since is None:
        changes.events.append((device.uuid, "missing", _job_on(books, device.uuid), {"model": device.model}))
        record = replace(record, missing_since=_time(now))
    return replace(record, health="lost")


def _examined(changes: _Changes, books: Books, device: DeviceRecord, gpu: Gpu, xids: Sequence[Xid], now: float) -> DeviceRecord:
    """With the health of this look."""
    snapshot = books.snapshot
    leased = any(uuid in books.leases_on for uuid in (gpu.uuid, *(g.uuid for g in snapshot.gpus if g.parent_uuid == gpu.uuid)))
    around = Surroundings(now, snapshot.boot_id, snapshot.driver, snapshot.events_monitored, leased)
    found = diagnose(device, gpu, [xid for xid in xids if gpu.uuid in _targets(books, xid.event)], around)
    for kind, taints in (("taint", found.news), ("healed", found.healed)):
        changes.events += [(gpu.uuid, kind, _job_on(books, gpu.uuid), taint.told()) for taint in taints]
    reasons = tuple(taint.to_dict() for taint in found.taints)
    return replace(device, health=found.health, reasons=reasons, counters=found.counters)


def _with_facts(device: DeviceRecord, gpu: Gpu, books: Books) -> DeviceRecord:
    return replace(
        device,
        kind=gpu.kind,
        parent_uuid=gpu.parent_uuid,
        model=gpu.name,
        profile=gpu.profile,
        total_bytes=gpu.total_bytes,
        index=gpu.index,
        pci=gpu.pci,
        boot_id=books.snapshot.boot_id,
        driver=books.snapshot.driver,
    )


def _with_state(changes: _Changes, device: DeviceRecord, card: Card, now: float) -> DeviceRecord:
    """Changes of state are told; so is, once, that something has been left on a card for minutes."""
    before, state, jobs = device.counters.get("state"), str(card.state), list(card.jobs)
    counters = dict(device.counters)
    if before != state or counters.get("jobs", []) != jobs:
        told = {"from": before or "", "to": state, "holder": card.holder, "reason": card.reason}
        changes.events.append((device.uuid, "state", jobs[0] if jobs else None, told))
        counters |= {"state": state, "jobs": jobs, "state_since": now, "alerted": False}
    elif card.state is CardState.ZOMBIE and not counters.get("alerted") and now - counters.get("state_since", now) >= _ALERT_AFTER_S:
        log.warning("%s: %s", card.name, card.reason)
        changes.events.append((device.uuid, "leftover", None, {"reason": card.reason}))
        counters["alerted"] = True
    return replace(device, counters=counters) if counters != device.counters else device


def _is_past(device: DeviceRecord, books: Books, now: float) -> bool:
    """A slice that was taken apart does not come back: the next one has another uuid."""
    if device.kind != "mig" or device.missing_since is None or device.uuid in books.leases_on:
        return False
    return _time(now) - device.missing_since > _SLICES_KEPT


# --------------------------------------------------------------------------------------------------------------- findings


def findings(books: Books, holders: Iterable[LeaseHolder], now: float) -> list[Finding]:
    """What concerns jobs, as the books have it now."""
    present = {(holder.job_id, holder.attempt) for holder in holders if not holder.ended}
    running = [lease for lease in books.leases if (lease.job_id, lease.attempt) in present and lease.state not in _ENDED]
    lost = [found for lease in running if (found := _loss(books, lease, now))]
    orphans = [Orphan(name, job_id) for name, (job_id, _) in sorted(books.unleased.items())]
    return [*lost, *_violations(books), *orphans]


def _loss(books: Books, lease: LeaseRecord, now: float) -> GpuLost | None:
    hurt = {uuid: why for uuid in lease.uuids if (why := _why_lost(books, uuid, lease, now))}
    return GpuLost(lease.job_id, lease.attempt, tuple(hurt), "; ".join(hurt.values())) if hurt else None


def _why_lost(books: Books, uuid: str, lease: LeaseRecord, now: float) -> str:
    """'' for a card that the job can go on with."""
    gpu = books.gpus.get(uuid)
    if gpu is None:
        return _why_missing(books, uuid, now)
    if gpu.error_code == "lost":
        return f"{uuid} is lost: {gpu.error}"
    began = lease.created_at.timestamp()
    fatal = [taint for taint in taints_on(books, uuid) if taint.effect.is_fatal and not taint.condition and taint.since >= began]
    if fatal:
        return f"{uuid}: {fatal[0].text}"
    parent = books.gpus.get(gpu.parent_uuid)
    return f"{uuid} is lost with its card: {parent.error}" if parent and parent.error_code == "lost" else ""


def _why_missing(books: Books, uuid: str, now: float) -> str:
    device = books.devices.get(uuid)
    parent = books.gpus.get(device.parent_uuid) if device else None
    if parent and not parent.error:
        return f"MIG reconfigured: the slice {uuid} is no longer there"
    if not books.snapshot.gpus:
        since = device.missing_since.timestamp() if device and device.missing_since else now
        return f"{uuid} is no longer there, nor any other GPU" if now - since >= _ALL_GONE_FOR_S else ""
    return f"{uuid} is no longer there"


def _violations(books: Books) -> list[Violated]:
    found = []
    for card in books.cards:
        if card.state is CardState.VIOLATED:
            here = {(lease.job_id, lease.attempt) for lease in card.leases}
            strange = [process for process in card.processes if process.job_id and (process.job_id, process.attempt) not in here]
            found += [Violated(process.job_id, card.uuid, process.pid) for process in strange]
    return found


def _job_on(books: Books, uuid: str) -> str | None:
    held = books.leases_on.get(uuid, ())
    return held[0].job_id if held else None


def _time(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, timezone.utc)

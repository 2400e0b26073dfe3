"""Cards that the engine could not give to a container: suspect for some minutes, so that the next attempt gets others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from contracts.errors import StartError
from registry import gpus
from registry.gpus import DeviceRecord
from registry.leases import LeaseRecord
from runner.gpus.reading import Reader
from runner.gpus.rounds import new_device
from runner.gpus.taints import Effect, Taint, health_of

#: Of what an engine says when it cannot give a container its cards: what concerns these cards only, not the host.
CARD_TROUBLES = {"unknown_device": "the engine's toolkit does not know the card", "cdi_stale": "the engine's CDI list lacks the card"}
#: The engine may know the card again at any time, and nothing tells when: only another start shows it.
SUSPECT_FOR_S = 300.0


def note_failed_start(reader: Reader, lease: LeaseRecord, error: StartError, now: float) -> None:
    """Puts on record which cards are suspect after a start that failed over them. Raises ``GpuSourceError``."""
    uuids = suspected(lease.uuids, error)
    if not uuids:
        return
    taint, books = _taint(lease, error, now), reader.read_cards()
    with reader.database.writing() as session:
        known = {device.uuid: device for device in gpus.list_devices(session, reader.host)}
        for uuid in uuids:
            device = known.get(uuid) or (new_device(books, books.gpus[uuid], now) if uuid in books.gpus else None)
            if device:
                dated = replace(taint, boot_id=books.snapshot.boot_id, driver=books.snapshot.driver)
                gpus.save_devices(session, [_with_taint(device, dated)])
                gpus.add_event(session, reader.host, uuid, "taint", job_id=lease.job_id, detail=taint.told())


def suspected(uuids: Sequence[str], error: StartError) -> tuple[str, ...]:
    """Of the cards that were asked for those that the engine names, all when it names none; () when no card is to blame."""
    if error.fields.get("gpu") not in CARD_TROUBLES:
        return ()
    named = error.fields.get("gpu_uuids", ())
    return tuple(uuid for uuid in uuids if uuid in named) or tuple(uuids)


def _taint(lease: LeaseRecord, error: StartError, now: float) -> Taint:
    until = now + SUSPECT_FOR_S
    again = f"{datetime.fromtimestamp(until, timezone.utc):%H:%M} UTC"
    text = f"job {lease.job_id} could not start on it: {CARD_TROUBLES[error.fields['gpu']]}; tried again from {again} on"
    return Taint("start failed", Effect.DRAIN, text, since=now, until=until)


def _with_taint(device: DeviceRecord, taint: Taint) -> DeviceRecord:
    """Instead of an earlier one for the same reason."""
    taints = [*(known for known in map(Taint.from_dict, device.reasons) if known.reason != taint.reason), taint]
    return replace(device, reasons=tuple(known.to_dict() for known in taints), health=health_of(taints, monitored=True))

"""The health of a device from one look to the next: new taints from what it says, what the driver reported and what its counters did; healing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.gpu import Gpu, GpuEvent
from registry.gpus import DeviceRecord
from runner.gpus.taints import Effect, Taint, conditions_of, health_of
from runner.gpus.xid import Rule, XidPolicy

#: A card that needs no reset by its driver's verdict is trusted again after it was quiet for so long.
QUIET_S = 300.0
#: An Xid that only follows from another comes within this time.
_FOLLOWS_WITHIN_S = 60.0
_ECC = "ecc"


@dataclass(frozen=True)
class Surroundings:
    """What the look is made under: Unix seconds, boot and driver, whether Xid errors can be seen, and whether a lease is open on the device."""

    now: float
    boot_id: str
    driver: str
    monitored: bool
    leased: bool


@dataclass(frozen=True)
class Diagnosis:
    """The device's health after a look. ``news`` are the taints that came, ``healed`` those that went."""

    taints: tuple[Taint, ...]
    counters: Mapping[str, Any]
    health: str
    news: tuple[Taint, ...] = ()
    healed: tuple[Taint, ...] = ()


@dataclass(frozen=True)
class Xid:
    """An event with what the policy makes of it."""

    event: GpuEvent
    rule: Rule
    effect: Effect

    @property
    def text(self) -> str:
        meaning = f": {self.rule.meaning}" if self.rule.meaning else ""
        return f"Xid {self.event.xid}{meaning}"


def weigh(events: Sequence[GpuEvent], policy: XidPolicy) -> list[Xid]:
    """Each event with its effect; an error that only follows from another of the card in the minute before has none."""
    found = []
    for position, event in enumerate(events):
        rule = policy.rule(event.xid)
        before = (other for other in events[:position] if other.uuid == event.uuid and other.xid != event.xid)
        follows = rule.follows and any(event.time - other.time <= _FOLLOWS_WITHIN_S for other in before)
        found.append(Xid(event, rule, Effect.NONE if follows else rule.effect))
    return found


def diagnose(device: DeviceRecord, gpu: Gpu, xids: Iterable[Xid], around: Surroundings) -> Diagnosis:
    """``device`` is what is on record, ``gpu`` the fresh reading, ``xids`` what was reported of it since the last look."""
    stored = {taint.reason: taint for taint in map(Taint.from_dict, device.reasons)}
    shown = {taint.reason: _dated(taint, around) for taint in conditions_of(gpu)}
    reported = {taint.reason: taint for taint in [*_of_xids(xids, around), *_of_counters(device, gpu, around)]}
    counters = _counters(device, gpu, around, troubled=bool(shown or reported or gpu.error))
    kept = {reason: taint for reason, taint in stored.items() if reason in shown or not _heals(taint, gpu, counters, around)}
    taints = tuple({**shown, **kept, **reported}.values())
    news = tuple(taint for taint in taints if taint.reason not in stored or taint.reason in reported)
    gone = tuple(taint for reason, taint in stored.items() if reason not in kept and reason not in reported)
    return Diagnosis(taints, counters, health_of(taints, monitored=around.monitored and not gpu.error), news, gone)


def _dated(taint: Taint, around: Surroundings) -> Taint:
    return replace(taint, since=around.now, boot_id=around.boot_id, driver=around.driver)


def _of_xids(xids: Iterable[Xid], around: Surroundings) -> list[Taint]:
    tainting = [xid for xid in xids if xid.effect is not Effect.NONE]
    return [_dated(Taint(f"xid {xid.event.xid}", xid.effect, xid.text), around) for xid in tainting]


def _of_counters(device: DeviceRecord, gpu: Gpu, around: Surroundings) -> list[Taint]:
    """Uncorrected memory errors are counted since the driver was loaded, so that after a reset there are fewer."""
    before, after = device.counters.get(_ECC), gpu.ecc_uncorrected
    if before is None or after is None or after <= before:
        return []
    return [_dated(Taint(_ECC, Effect.DRAIN, f"uncorrected ECC errors grew from {before} to {after}"), around)]


def _counters(device: DeviceRecord, gpu: Gpu, around: Surroundings, *, troubled: bool) -> dict[str, Any]:
    ecc = device.counters.get(_ECC) if gpu.ecc_uncorrected is None else gpu.ecc_uncorrected
    at = around.now if troubled else device.counters.get("troubled_at", 0.0)
    return {**device.counters, _ECC: ecc, "troubled_at": at}


def _heals(taint: Taint, gpu: Gpu, counters: Mapping[str, Any], around: Surroundings) -> bool:
    """Whether a taint that the card no longer shows goes. Never under a lease, but for those that only keep new jobs away."""
    rebooted = bool(taint.boot_id) and taint.boot_id != around.boot_id
    reloaded = bool(taint.driver) and taint.driver != around.driver
    if taint.until:
        return rebooted or reloaded or around.now >= taint.until
    if gpu.error or (around.leased and taint.effect is not Effect.DRAIN):
        return False
    quiet = around.now - counters["troubled_at"] >= QUIET_S
    if rebooted or taint.condition:
        return rebooted or quiet or taint.effect is Effect.DRAIN
    if taint.effect is Effect.LOST:
        return False  # the machine must be restarted
    return reloaded or (quiet and (taint.reason == _ECC or gpu.recovery_action == "none"))

"""Holds: what becomes free is kept for a blocked job, and what others may still take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.queue.lines import CPU, GPUS, MEMORY, SLOTS, Demand
from runner.queue.stock import Amounts, Devices, Options, Stock
from runner.queue.terms import Entry, Hold


@dataclass
class Reservation:
    """A hold with its books. ``spare``: what jobs behind may take although they do not end in time, of ``devices`` and of the rest."""

    hold: Hold
    demand: Demand
    devices: int
    lacking: int
    spare: Amounts

    def lets_pass_in_time(self, demand: Demand, now: float) -> bool:
        """Whether a job that starts now has given everything back when this one is due."""
        return self.hold.until is not None and demand.runtime_s is not None and now + demand.runtime_s <= self.hold.until

    def spares_all_but_gpus(self, demand: Demand) -> bool:
        return not demand.lacks(self.spare.cpu, self.spare.memory, self.spare.slots)

    def give(self, demand: Demand, candidates: int) -> None:
        """A job behind takes from what is spare, on any of the candidates."""
        self.spare.gpus -= min(demand.gpu_count, (candidates & self.devices).bit_count())
        self.spare.cpu -= demand.cpu_count
        self.spare.memory -= demand.memory_bytes
        self.spare.slots -= demand.slots


def holdable(demand: Demand, options: Options, stock: Stock, held: Sequence[Reservation]) -> list[Devices]:
    """The groups of an offer that may be held for a blocked job: those in which there is enough when jobs of ours have ended.

    None when what it lacks is held for jobs before it, in any of its groups: when their turn is over its own comes.
    """
    lacking = stock.lacking(demand, options)
    if not lacking or any(_is_covered(lacking, devices, held) for devices in options):
        return []
    return [devices for devices in options if stock.is_achievable(demand, devices)]


def reserve(entry: Entry, demand: Demand, groups: Sequence[Devices], stock: Stock, earlier: Sequence[Reservation]) -> Reservation:
    """A hold for a blocked job on the group that has enough first, behind the holds that are there: what those need is not counted on."""
    found = [(stock.earliest(demand, devices), stock.free((devices,)), devices) for devices in groups]
    foreseen, free, devices = min(found, key=lambda one: (one[0][0] if one[0] else math.inf, -one[1].gpus))
    until, available = foreseen or (None, free)
    spare = Amounts(available.gpus, available.cpu, available.memory, available.slots)
    _subtract(spare, demand, demand.gpu_count)
    for other in earlier:
        _subtract(spare, other.demand, min(other.demand.gpu_count, (other.devices & devices.all).bit_count()))
    hold = Hold(entry.job_id, entry.waits_since, entry.gpu_count, until)
    return Reservation(hold, demand, devices.all, free.lacks(demand), spare)


def allowed(demand: Demand, options: Options, stock: Stock, held: Sequence[Reservation], now: float) -> int | None:
    """The free devices of one group that a job may start on, 0 for one without GPUs; None when it has to wait."""
    if stock.lacking(demand, options):
        return None
    return next((choice for devices in options if (choice := _allowed_of(devices, demand, stock, held, now)) is not None), None)


def _allowed_of(devices: Devices, demand: Demand, stock: Stock, held: Iterable[Reservation], now: float) -> int | None:
    choice = devices.free
    if stock.count(choice) < demand.gpu_count:
        return None
    for hold in held:
        if hold.lets_pass_in_time(demand, now):
            continue
        if not hold.spares_all_but_gpus(demand):
            return None
        choice = _outside(choice, hold, demand.gpu_count, stock)
        if stock.count(choice) < demand.gpu_count:
            return None
    return choice if demand.gpu_count else 0


def _is_covered(lacking: int, devices: Devices, held: Iterable[Reservation]) -> bool:
    """Whether everything that a blocked job lacks is being held already, for jobs before it."""
    for other in held:
        lacking &= ~(other.lacking & (CPU | MEMORY | SLOTS))
    if lacking & GPUS:
        left = devices.all
        for other in held:
            left &= ~other.devices if other.lacking & GPUS else -1
        lacking &= -1 if left else ~GPUS
    return not lacking


def _outside(choice: int, hold: Reservation, count: int, stock: Stock) -> int:
    """The devices of a choice that a hold leaves: those it could not use if they are enough, otherwise with as many of its own as it spares."""
    inside = choice & hold.devices
    if inside.bit_count() <= hold.spare.gpus:
        return choice
    outside = choice & ~hold.devices
    if hold.spare.gpus <= 0 or stock.count(outside) >= count:
        return outside
    return outside | stock.first(inside, hold.spare.gpus)


def _subtract(spare: Amounts, demand: Demand, gpus: int) -> None:
    spare.gpus = max(spare.gpus - gpus, 0)
    spare.cpu = max(spare.cpu - demand.cpu_count, 0.0)
    spare.memory = max(spare.memory - demand.memory_bytes, 0)
    spare.slots = max(spare.slots - demand.slots, 0)

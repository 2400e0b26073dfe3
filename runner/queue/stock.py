"""What is free on the host while one decision is made, and when more will be.

Sets of devices are integers with one bit per device. A start leaves open which of its candidates it gets, so the others count on the worst choice.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from runner.queue.lines import GPUS, Demand
from runner.queue.terms import Entry, Host, Offer, Offers, Running


@dataclass(frozen=True)
class Devices:
    """One group of an offer as sets: ``free`` now, and ``all`` that the job could use."""

    offer: Offer
    free: int
    all: int


#: The groups of an offer; at least one. A job gets all its devices from one of them.
Options = tuple[Devices, ...]
_NO_DEVICES = (Devices(Offer((), ()), 0, 0),)


@dataclass(frozen=True, order=True)
class Ending:
    """A job that ends at a known time, and what it gives back: its own devices, or ``gpus`` of the candidates of one that starts now."""

    at: float
    job_id: str
    gpus: int
    devices: int
    cpu: float
    memory: int
    slots: int
    starts_now: bool = False

    def gives_back(self, devices: Devices) -> int:
        """How many devices of an offer: of those that it does not count as free, or of those that were counted off from the free ones."""
        within = devices.free if self.starts_now else devices.all & ~devices.free
        return min(self.gpus, (self.devices & within).bit_count())


@dataclass
class Amounts:
    """Free, or needed: devices of one set, processors, bytes, slots."""

    gpus: int
    cpu: float
    memory: int
    slots: int

    def lacks(self, demand: Demand) -> int:
        """The resources of which there is less than demanded, as flags."""
        return demand.lacks(self.cpu, self.memory, self.slots) | (GPUS if demand.gpu_count > self.gpus else 0)


class Stock:
    """The host less what runs, and the offers of its devices, each asked for once."""

    def __init__(self, host: Host, running: Iterable[Running], offers: Offers, now: float) -> None:
        self.host = host
        self.cpu, self.memory, self.slots = host.cpu_count, host.memory_bytes, host.job_slots
        self._offers = offers
        self._now = now
        self._bits: dict[str, int] = {}
        self._names: list[str] = []
        self._named: dict[int, tuple[str, ...]] = {}
        self._options: dict[tuple[str, str, Hashable], Options] = {}
        self._taken: list[tuple[int, int]] = []
        self._taken_by_choice: dict[int, int] = {}
        self._counted: dict[int, int] = {}
        self._endings: list[Ending] = []
        self._foreseen = Amounts(0, 0.0, 0, 0)
        self._held_by_jobs = self._ending_devices = self._touched = 0
        self._place_running(list(running))

    # ------------------------------------------------------------------------------------------------------------ devices

    def options(self, entry: Entry, scope: Hashable) -> Options:
        """What the job's wish is offered. Jobs with the same wish, kind and scope get the same."""
        if not entry.gpu_count:
            return _NO_DEVICES
        key = (entry.wish, entry.kind, scope)
        found = self._options.get(key)
        if found is None:
            offer = self._offers.offer(entry)
            free = self._mask(offer.free)
            eligible = free | self._mask(offer.eligible)
            groups = [self._mask(group) for group in offer.groups] or [eligible]
            found = self._options[key] = tuple(Devices(offer, free & group, eligible & group) for group in groups)
        return found

    def names(self, devices: int) -> tuple[str, ...]:
        """The uuids of a set, sorted."""
        named = self._named.get(devices)
        if named is None:
            named = self._named[devices] = tuple(sorted(self._names[position] for position in _positions(devices)))
        return named

    def first(self, devices: int, count: int) -> int:
        """The first ``count`` devices of a set by uuid: the same whatever was asked for before."""
        return self._mask(self.names(devices)[:count])

    def count(self, devices: int) -> int:
        """How many of these free devices are left after the starts so far, however those choose."""
        left = self._counted.get(devices)
        if left is None:
            untouched = (devices & ~self._touched).bit_count()
            taken = sum(min(chosen, (candidates & devices).bit_count()) for candidates, chosen in self._taken_by_choice.items())
            left = self._counted[devices] = max(devices.bit_count() - taken, untouched)
        return left

    # ------------------------------------------------------------------------------------------------------- what is free

    def free(self, options: Options) -> Amounts:
        """What is free, of devices in the group that has most."""
        return Amounts(max(self.count(devices.free) for devices in options), self.cpu, self.memory, self.slots)

    def lacking(self, demand: Demand, options: Options) -> int:
        """The resources of which less than demanded is free, as flags."""
        lacking = demand.lacks(self.cpu, self.memory, self.slots)
        if demand.gpu_count and all(demand.gpu_count > self.count(devices.free) for devices in options):
            lacking |= GPUS
        return lacking

    def take(self, job_id: str, demand: Demand, candidates: int) -> None:
        """A job starts on some of the candidates."""
        self.cpu -= demand.cpu_count
        self.memory -= demand.memory_bytes
        self.slots -= demand.slots
        if demand.gpu_count:
            self._taken.append((candidates, demand.gpu_count))
            self._taken_by_choice[candidates] = self._taken_by_choice.get(candidates, 0) + demand.gpu_count
            self._touched |= candidates
            self._counted.clear()
        if demand.runtime_s is not None:
            at = self._now + demand.runtime_s
            self._foresee(
                Ending(at, job_id, demand.gpu_count, candidates, demand.cpu_count, demand.memory_bytes, demand.slots, starts_now=True)
            )

    # --------------------------------------------------------------------------------------------------- what will be free

    def is_achievable(self, demand: Demand, devices: Devices) -> bool:
        """Whether it is enough that jobs of ours end; otherwise it waits for somebody else, and holding for it could last for ever."""
        if demand.lacks(self.host.cpu_count, self.host.memory_bytes, self.host.job_slots):
            return False
        return demand.gpu_count <= (devices.free | devices.all & self._held_by_jobs).bit_count()

    def may_be_foreseeable(self, demand: Demand, devices: Devices) -> bool:
        """A cheap look before ``earliest``: False when jobs that end at a known time can never leave enough."""
        later = self._foreseen
        if demand.lacks(self.cpu + later.cpu, self.memory + later.memory, self.slots + later.slots):
            return False
        gpus = devices.free.bit_count() + (devices.all & self._ending_devices).bit_count()
        return gpus >= demand.gpu_count

    def earliest(self, demand: Demand, devices: Devices) -> tuple[float, Amounts] | None:
        """When jobs that end at a known time leave enough, and what is free then; None when they never do."""
        # Each start is counted for itself, for each gives back what it took: together they may seem to take more than there is.
        taken = sum(min(chosen, (candidates & devices.free).bit_count()) for candidates, chosen in self._taken)
        gpus, cpu, memory, slots = devices.free.bit_count() - taken, self.cpu, self.memory, self.slots
        for ending in self._endings:
            gpus += ending.gives_back(devices)
            cpu, memory, slots = cpu + ending.cpu, memory + ending.memory, slots + ending.slots
            if gpus >= demand.gpu_count and not (free := Amounts(gpus, cpu, memory, slots)).lacks(demand):
                return ending.at, free
        return None

    # ------------------------------------------------------------------------------------------------------------ building

    def _place_running(self, running: list[Running]) -> None:
        for job in running:
            self.cpu -= job.cpu_count
            self.memory -= job.memory_bytes
            self.slots -= not job.gpu_uuids
            self._held_by_jobs |= self._mask(job.gpu_uuids)
        given_back = self._given_back(running)
        for job in running:
            if job.ends_by is not None and job.ends_by > self._now:  # one that is overdue may take any time to end
                own = given_back.get(job.job_id, 0)
                slots = int(not job.gpu_uuids)
                self._foresee(Ending(job.ends_by, job.job_id, own.bit_count(), own, job.cpu_count, job.memory_bytes, slots))

    def _given_back(self, running: Iterable[Running]) -> Mapping[str, int]:
        """Devices by the job whose end makes them free: of several that share one, the last."""
        last: dict[str, tuple[float, str]] = {}
        for job in running:
            end = float("inf") if job.ends_by is None or job.ends_by <= self._now else job.ends_by
            for uuid in job.gpu_uuids:
                last[uuid] = max(last.get(uuid, (0.0, "")), (end, job.job_id))
        given: dict[str, int] = {}
        for uuid, (_, job_id) in last.items():
            given[job_id] = given.get(job_id, 0) | self._bits[uuid]
        return given

    def _foresee(self, ending: Ending) -> None:
        insort(self._endings, ending)
        self._ending_devices |= 0 if ending.starts_now else ending.devices
        later = self._foreseen
        self._foreseen = Amounts(0, later.cpu + ending.cpu, later.memory + ending.memory, later.slots + ending.slots)

    def _mask(self, uuids: Iterable[str]) -> int:
        mask = 0
        for uuid in uuids:
            bit = self._bits.get(uuid)
            if bit is None:
                bit = self._bits[uuid] = 1 << len(self._names)
                self._names.append(uuid)
            mask |= bit
        return mask


def _positions(devices: int) -> Iterable[int]:
    while devices:
        lowest = devices & -devices
        yield lowest.bit_length() - 1
        devices ^= lowest

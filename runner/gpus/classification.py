"""From the books to the state of each card: one rule after the other, the first that fits decides. ``cards`` says what the states mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from contracts.gpu import Gpu
from contracts.job import container_name
from registry.gpus import DeviceRecord
from registry.leases import LeaseRecord, LeaseState
from runner.gpus.books import Books
from runner.gpus.cards import Card, CardState
from runner.gpus.host import is_container_id
from runner.gpus.owners import Process
from runner.gpus.taints import Effect, Taint, conditions_of, health_of, worst

_GIB = 1024**3


def classify(books: Books) -> tuple[Card, ...]:
    """Every device in the order of the snapshot, then those on record or leased that are missing."""
    cards = [classify_one(books, gpu) for gpu in books.snapshot.gpus]
    return (*cards, *(_missing(books, uuid) for uuid in _missing_uuids(books)))


def classify_one(books: Books, gpu: Gpu) -> Card:
    """One device of the snapshot."""
    return _Look(books, gpu).card()


class _Look:
    """One device before all books."""

    def __init__(self, books: Books, gpu: Gpu) -> None:
        self.books = books
        self.gpu = gpu
        self.leases = books.leases_on.get(gpu.uuid, ())
        self.claimants = books.claimants.get(gpu.uuid, ())
        self.is_cut = gpu.kind == "gpu" and bool(gpu.mig_enabled)

    @cached_property
    def processes(self) -> tuple[Process, ...]:
        return self.books.processes(self.gpu)

    @cached_property
    def taints(self) -> tuple[Taint, ...]:
        return taints_on(self.books, self.gpu.uuid)

    @cached_property
    def holder(self) -> str:
        return ", ".join(lease.job_id for lease in self.leases)

    @cached_property
    def strangers(self) -> list[Process]:
        """Processes of nobody we know. On the card of a job whose processes cannot be told apart none is; one that is gone is no stranger to a job."""
        if not all(lease.container_id is None or is_container_id(lease.container_id) for lease in self.leases):
            return []
        seen = [process for process in self.processes if not process.job_id]
        return [process for process in seen if (process.containers is not None if self.leases else process.is_known)]

    @cached_property
    def intruders(self) -> list[Process]:
        """Processes of jobs of ours that hold other cards. One without any lease is an orphan's."""
        here = {(lease.job_id, lease.attempt) for lease in self.leases}
        leased = {(lease.job_id, lease.attempt) for lease in self.books.leases}
        return [process for process in self.processes if (process.job_id, process.attempt) in leased - here]

    @cached_property
    def orphans(self) -> list[Process]:
        """Processes of jobs of ours that have no lease at all."""
        leased = {(lease.job_id, lease.attempt) for lease in self.books.leases}
        return [process for process in self.processes if process.job_id and (process.job_id, process.attempt) not in leased]

    @cached_property
    def stray_claimants(self) -> list[str]:
        """Containers that were given the card without a lease on it."""
        here = {container_name(lease.job_id, lease.attempt) for lease in self.leases}
        return [name for name in self.claimants if name not in here]

    def card(self) -> Card:
        state, holder, reason = next((found for rule in _RULES if (found := rule(self))), (CardState.FREE, "", ""))
        gpu, books = _completed(self.gpu, self.books.devices.get(self.gpu.uuid)), self.books
        monitored = books.snapshot.events_monitored and not gpu.error
        return Card(
            gpu=gpu,
            state=state,
            holder=holder,
            reason=reason,
            leases=self.leases,
            containers=self.claimants,
            processes=() if self.is_cut else self.processes,
            taints=self.taints,
            health=health_of(self.taints, monitored=monitored),
            pool=books.pool_of(gpu.uuid).name,
            drained=books.is_drained(gpu.uuid),
        )


# ------------------------------------------------------------------------------------------------ the rules, first one first

_Finding = tuple[CardState, str, str] | None


def _lost(look: _Look) -> _Finding:
    if look.gpu.error_code == "no_permission":
        return CardState.UNKNOWN, look.holder, f"this user may not look at the card: {look.gpu.error}"
    if look.gpu.error:
        return CardState.LOST, look.holder, f"the card cannot be used: {look.gpu.error}"
    return None


def _cut(look: _Look) -> _Finding:
    """Before all that processes say: what runs on a slice is listed on its card too."""
    return (CardState.MIG, look.holder, "the card is cut into slices") if look.is_cut else None


def _violated(look: _Look) -> _Finding:
    if not look.intruders:
        return None
    first = look.intruders[0]
    return CardState.VIOLATED, look.holder or first.job_id, f"{first.text} of job {first.job_id}, which holds other cards, uses this one"


def _foreign(look: _Look) -> _Finding:
    if look.leases:
        return _contended(look)
    if not look.strangers:
        return None
    first, others = look.strangers[0], len(look.strangers) - 1
    where = f", perhaps of {_containers_text(look.claimants)}," if look.claimants else ""
    where = where or (f" of the container {first.containers[0][:12]}" if first.containers else "")
    return CardState.FOREIGN, first.text, f"a process{where}{f' and {others} more' if others else ''} uses the card without a lease"


def _contended(look: _Look) -> _Finding:
    """Processes and containers are both named: the one need not be of the other."""
    foreign = [name for name in look.stray_claimants if name not in look.books.unleased]
    others = f" and {len(look.strangers) - 1} more" if len(look.strangers) > 1 else ""
    who = [f"the process {process.text}{others}" for process in look.strangers[:1]]
    who += [_containers_text(foreign)] if foreign else []
    if not who:
        return None
    hold = "hold" if len(look.strangers) + len(foreign) > 1 else "holds"
    return CardState.CONTENDED, look.holder, f"job {look.holder} shares the card with {' and '.join(who)}, which {hold} no lease on it"


def _orphan(look: _Look) -> _Finding:
    unleased = look.books.unleased
    names = [name for name in look.stray_claimants if name in unleased]
    if not names and not look.orphans:
        return None
    job_ids = list(dict.fromkeys(unleased[name][0] for name in names)) or [look.orphans[0].job_id]
    what = _containers_text(names) if names else f"the process {look.orphans[0].text}"
    jobs, has = ", ".join(job_ids), "have" if len(names) > 1 else "has"
    return CardState.ORPHAN, look.holder or jobs, f"{what} of job {jobs} {has} the card without a lease"


def _leased(look: _Look) -> _Finding:
    if not look.leases:
        return None
    left = [lease for lease in look.leases if lease.state in (LeaseState.RELEASING, LeaseState.STUCK)]
    if any(lease.state is LeaseState.STUCK for lease in left):
        return CardState.STUCK, look.holder, f"memory left: {_left_text(look)} after job {left[0].job_id} has ended"
    if left:
        return CardState.LEASED, look.holder, f"job {left[0].job_id} has ended; the card is given back when nothing of it is left there"
    return CardState.LEASED, look.holder, _overuse(look)


def _claimed(look: _Look) -> _Finding:
    if not look.claimants:
        return None
    were = "were" if len(look.claimants) > 1 else "was"
    return CardState.CLAIMED, ", ".join(look.claimants), f"{_containers_text(look.claimants)} {were} given the card without a lease"


def _zombie(look: _Look) -> _Finding:
    if look.processes:
        first = look.processes[0]
        return CardState.ZOMBIE, first.text, f"pid {first.pid} is on the card, but has ended or is hidden from this user"
    if look.gpu.used_bytes <= look.books.idle_bytes:
        return None
    seen = "no process is on the card" if look.gpu.processes is not None else "the driver does not tell by whom"
    return CardState.ZOMBIE, "", f"{_gib(look.gpu.used_bytes)} are used though {seen}"


def _prohibited(look: _Look) -> _Finding:
    return (CardState.PROHIBITED, "", "the card's compute mode is prohibited") if look.gpu.compute_mode == "prohibited" else None


def _unhealthy(look: _Look) -> _Finding:
    decisive = worst(look.taints)
    if decisive is None or decisive.effect is Effect.NONE:
        return None
    return (CardState.DRAINED if decisive.effect is Effect.DRAIN else CardState.QUARANTINED), "", decisive.text


def _drained(look: _Look) -> _Finding:
    if not look.books.is_drained(look.gpu.uuid):
        return None
    pool = look.books.pool_of(look.gpu.uuid)
    return CardState.DRAINED, "", f"the pool {pool.name} is drained" if pool.drained else "drained by an operator"


def _unseen(look: _Look) -> _Finding:
    why = look.books.engine_error
    return (CardState.UNKNOWN, "", f"containers that were given the card cannot be seen: {why}") if why else None


_RULES: Sequence[Callable[[_Look], _Finding]] = (
    _lost,
    _cut,
    _violated,
    _foreign,
    _orphan,
    _leased,
    _claimed,
    _zombie,
    _prohibited,
    _unhealthy,
    _drained,
    _unseen,
)


# ---------------------------------------------------------------------------------------------------------------- details


def taints_on(books: Books, uuid: str) -> tuple[Taint, ...]:
    """Those on record and those that the device and its card show now, the worst first."""
    gpu = books.gpus.get(uuid)
    shown = [taint for name in (uuid, gpu.parent_uuid) if name in books.gpus for taint in conditions_of(books.gpus[name])] if gpu else []
    stored = [Taint.from_dict(reason) for device in books.device_and_card(uuid) for reason in device.reasons]
    lasting = [taint for taint in stored if not taint.until or books.read_at < taint.until]  # without a service no round takes it away
    by_reason = {taint.reason: taint for taint in (*shown, *lasting)}
    return tuple(sorted(by_reason.values(), key=lambda taint: (-taint.effect.severity, taint.since, taint.reason)))


def _measured_bytes(processes: Sequence[Process], lease: LeaseRecord) -> int:
    """What the processes of a lease's job use on the card, as far as the driver tells."""
    return sum(process.used_bytes or 0 for process in processes if (process.job_id, process.attempt) == (lease.job_id, lease.attempt))


def _containers_text(names: Sequence[str]) -> str:
    return f"the container{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _overuse(look: _Look) -> str:
    said = []
    for lease in look.leases:
        used = _measured_bytes(look.processes, lease)
        if lease.shared_bytes is not None and used > lease.shared_bytes:
            said.append(f"job {lease.job_id} uses {_gib(used)} of the shared card and declared {_gib(lease.shared_bytes)}")
    return "; ".join(said)


def _left_text(look: _Look) -> str:
    return f"{_gib(look.gpu.used_bytes)}{''.join(f', {process.text}' for process in look.processes[:3])}"


def _missing_uuids(books: Books) -> list[str]:
    """What was known or is leased and not there. Slices come and go with every change of the card's layout, so only leased ones are told of."""
    leased = [uuid for uuid in books.leases_on if uuid not in books.gpus]
    known = [uuid for uuid, device in books.devices.items() if uuid not in books.gpus and device.kind == "gpu"]
    return list(dict.fromkeys([*known, *leased]))


def _missing(books: Books, uuid: str) -> Card:
    device, leases = books.devices.get(uuid), books.leases_on.get(uuid, ())
    jobs = ", ".join(lease.job_id for lease in leases)
    since = f" since {device.missing_since:%Y-%m-%d %H:%M} UTC" if device and device.missing_since else ""
    reason = f"job {jobs} holds the card, which is no longer there" if jobs else f"the card is no longer there{since}"
    return Card(
        gpu=_remembered(uuid, device),
        state=CardState.MISSING,
        holder=jobs,
        reason=reason,
        leases=leases,
        taints=taints_on(books, uuid),
        health="lost",
        pool=books.pool_of(uuid).name,
        drained=books.is_drained(uuid),
    )


def _remembered(uuid: str, device: DeviceRecord | None) -> Gpu:
    if device is None:
        return Gpu(uuid=uuid, index=-1, error="not there")
    return Gpu(
        uuid=uuid,
        index=-1,
        name=device.model,
        total_bytes=device.total_bytes,
        error="not there",
        kind=device.kind,
        parent_uuid=device.parent_uuid,
        profile=device.profile,
        pci=device.pci,
    )


def _completed(gpu: Gpu, device: DeviceRecord | None) -> Gpu:
    """A card that does not answer tells neither name nor size: they are as they were."""
    if not gpu.error or device is None:
        return gpu
    return replace(gpu, name=gpu.name or device.model, total_bytes=gpu.total_bytes or device.total_bytes, pci=gpu.pci or device.pci)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB"

"""Which GPUs are free, who holds the others, and the leases jobs take on them.

Three books can disagree: the leases in the registry, the containers that were given cards, and what the GPU source sees on the cards. A card is
free only when all three say so. Every other state names who holds the card:

==========  =====================================================================================================
free        nobody; the only state that can be leased
leased      a job of ours
contended   a job of ours, and a process or container that has no business there
foreign     a process that no lease explains
claimed     a container that no lease explains was given the card, and has no process on it yet
zombie      nobody, yet more memory is used than an idle card uses
lost        the card does not answer, cannot be leased as a whole, or a leased one is no longer there
unknown     nobody as far as can be seen, but the engine does not answer
==========  =====================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.errors import ConflictError, EngineError, NoGpuError
from contracts.gpu import Gpu, GpuProcess
from contracts.job import container_name
from contracts.seams import GpuSource
from registry import jobs, leases
from registry.database import Database
from registry.leases import LeaseRecord, LeaseState

#: Memory that may be in use on a card without a process: drivers before 510 count their own reserve (0.6 GiB on large cards) as used.
IDLE_BYTES = 1024**3
#: Longer than the seam's default: without persistence mode the driver takes up to 3 s to open each card.
READ_TIMEOUT_S = 20.0
_TRIES = 5
_ALL_CARDS = "*"
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

Chooser = Callable[[Sequence[Gpu], int], Sequence[Gpu]]


class CardState(str, Enum):
    """What the books say of a card together; the table above."""

    FREE = "free"
    LEASED = "leased"
    CONTENDED = "contended"
    FOREIGN = "foreign"
    CLAIMED = "claimed"
    ZOMBIE = "zombie"
    LOST = "lost"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Card:
    """A card with its state. ``holder`` is a job id, a container's name, or pid and command; ``reason`` one sentence, '' where all is well."""

    gpu: Gpu
    state: CardState
    holder: str = ""
    reason: str = ""

    def view(self) -> dict[str, Any]:
        """The card as the doors show it."""
        shown = asdict(self.gpu)
        del shown["processes"], shown["error"]
        return {**shown, "state": str(self.state), "holder": self.holder, "reason": self.reason}


@dataclass(frozen=True)
class Reading:
    """The two books that are not ours, read at one moment. ``engine_error`` is '' unless the claims could not be read."""

    gpus: tuple[Gpu, ...]
    claims: Mapping[str, str]
    engine_error: str = ""


def lowest_index(free: Sequence[Gpu], count: int) -> Sequence[Gpu]:
    """The first ``count`` cards. The place for a chooser that knows which cards are linked."""
    return sorted(free, key=lambda gpu: (gpu.index, gpu.uuid))[:count]


class GpuPool:
    """The GPUs of one host. Safe to share between threads; several processes may each have one over the same database.

    ``claims`` is the engine's ``gpu_claims``. Two installations on one host see each other's containers and processes, but not the moment
    between a lease and the start of its container: a lock for the whole host around these steps is still to come.
    """

    def __init__(
        self,
        *,
        source: GpuSource,
        claims: Callable[[], Mapping[str, str]],
        database: Database,
        host: str,
        idle_bytes: int = IDLE_BYTES,
        choose: Chooser = lowest_index,
    ) -> None:
        self._source = source
        self._claims = claims
        self._database = database
        self._host = host
        self._idle_bytes = idle_bytes
        self._choose = choose

    def list_gpus(self) -> list[dict[str, Any]]:
        """Every card and who holds it, also when the engine is away. Raises ``GpuSourceError``."""
        reading = self._read(engine_needed=False)
        with self._database.reading() as session:
            held = self._open_leases(session)
        return [card.view() for card in classify(reading, held, self._idle_bytes)]

    def total(self) -> int:
        """How many cards the host has, whoever holds them. Raises ``GpuSourceError``."""
        return len(self._source.list_gpus(READ_TIMEOUT_S))

    def lease(self, job_id: str, attempt: int, count: int) -> tuple[str, ...]:
        """The uuids of ``count`` free cards, held until ``release``. Repeating it for an attempt gives the cards it has.

        Raises ``NoGpuError`` naming who holds which card, ``EngineError`` and ``GpuSourceError`` when a book cannot be read: then nothing
        new is leased. Whoever calls it may simply come back later.
        """
        if count == 0:
            return ()
        for _ in range(_TRIES):
            lease = self._held(job_id, attempt, count) or self._take(job_id, attempt, count)
            if lease.state is not LeaseState.RESERVED or self._confirm(lease):
                return lease.uuids
        raise NoGpuError(f"free GPUs on {self._host} were taken from outside {_TRIES} times in a row", hint="Try again.", asked=count)

    def release(self, job_id: str, attempt: int, *, note: str = "") -> None:
        """Give the attempt's cards back: only when the end of its container was seen. May be repeated."""
        with self._database.writing() as session:
            leases.release(session, job_id, attempt, note=note)

    def reclaim(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Releases what a runner that was killed between a job's end and its release left; the ids of those jobs.

        ``is_alive`` says of a job id whether the job has not ended. A lease whose container still runs stays. Raises ``EngineError``: that
        the engine is silent does not mean that the containers are gone.
        """
        with self._database.reading() as session:
            ended = [lease for lease in leases.list_open(session, self._host) if not is_alive(lease.job_id)]
        if not ended:
            return []
        running = set(self._claims().values())
        left = [lease for lease in ended if container_name(lease.job_id, lease.attempt) not in running]
        for lease in left:
            rebooted = lease.boot_id != boot_id()
            self.release(lease.job_id, lease.attempt, note="the host was rebooted" if rebooted else "the job had ended")
        return [lease.job_id for lease in left]

    # ------------------------------------------------------------------------------------------------------------- reading

    def _read(self, *, engine_needed: bool = True) -> Reading:
        """Cards first: what starts on a card after this reading has a lease that is read later."""
        gpus = tuple(self._source.list_gpus(READ_TIMEOUT_S))
        if not gpus:
            return Reading((), {})  # a host without GPUs needs no engine to say so
        try:
            return Reading(gpus, self._claims())
        except EngineError as error:
            if engine_needed:
                raise
            return Reading(gpus, {}, error.message)

    def _open_leases(self, session: Session) -> list[LeaseRecord]:
        """With the container of each job's present attempt, by which its processes are known."""
        found = []
        for lease in leases.list_open(session, self._host):
            job = jobs.find_job(session, lease.job_id)
            known = job.container_id if job and job.attempt == lease.attempt else None
            found.append(replace(lease, container_id=lease.container_id or known))
        return found

    # ------------------------------------------------------------------------------------------------------------- leasing

    def _held(self, job_id: str, attempt: int, count: int) -> LeaseRecord | None:
        with self._database.reading() as session:
            lease = leases.find_lease(session, job_id, attempt)
        if lease is None or lease.state is LeaseState.RELEASED:
            return None
        if len(lease.uuids) != count or lease.host != self._host:
            raise ConflictError(
                f"attempt {attempt} of job {job_id} holds {len(lease.uuids)} GPUs on {lease.host}, not {count} on {self._host}",
                hint="Start a new attempt.",
                held=list(lease.uuids),
            )
        return lease

    def _take(self, job_id: str, attempt: int, count: int) -> LeaseRecord:
        """Chosen inside the transaction, so that two runners cannot choose the same card."""
        reading = self._read()
        with self._database.writing() as session:
            cards = classify(reading, leases.list_open(session, self._host), self._idle_bytes)
            self._check_enough(cards, count)
            free = [card.gpu for card in cards if card.state is CardState.FREE]
            uuids = [gpu.uuid for gpu in self._choose(free, count)]
            return leases.take(session, self._host, job_id, attempt, uuids, boot_id=boot_id())

    def _check_enough(self, cards: Sequence[Card], count: int) -> None:
        if count > len(cards):
            raise NoGpuError(
                f"{_gpus(count)} asked for, {self._host} has {len(cards)}", hint="Ask for fewer with --gpus.", asked=count, total=len(cards)
            )
        busy = [card for card in cards if card.state is not CardState.FREE]
        if count > len(cards) - len(busy):
            named = "; ".join(_busy_text(card) for card in busy)
            raise NoGpuError(
                f"{_gpus(count)} asked for, {len(cards) - len(busy)} of {len(cards)} free: {named}",
                hint="Wait for them, ask for fewer, or see `sluice gpu list`.",
                asked=count,
                total=len(cards),
                busy={card.gpu.uuid: card.holder for card in busy},
            )

    def _confirm(self, lease: LeaseRecord) -> bool:
        """A second look after the commit: somebody outside may have started between the first look and now. If so the lease is given up."""
        try:
            cards = classify(self._read(), (), self._idle_bytes)
        except BaseException:
            self.release(lease.job_id, lease.attempt, note="the cards could not be looked at again")
            raise
        if set(lease.uuids) <= {card.gpu.uuid for card in cards if card.state is CardState.FREE}:
            with self._database.writing() as session:
                leases.mark(session, lease.job_id, lease.attempt, LeaseState.STARTING)
            return True
        self.release(lease.job_id, lease.attempt, note="no longer free at the second look")
        return False


# ------------------------------------------------------------------------------------------------- what the books say together


def classify(reading: Reading, held: Iterable[LeaseRecord], idle_bytes: int = IDLE_BYTES) -> list[Card]:
    """Every card with its state, by index; leased cards that are no longer there come last."""
    lease_of = {uuid: lease for lease in held for uuid in lease.uuids}
    cards = [_card(gpu, lease_of.pop(gpu.uuid, None), _claim_on(gpu, reading.claims), idle_bytes) for gpu in reading.gpus]
    if reading.engine_error:
        cards = [_doubtful(card, reading.engine_error) for card in cards]
    return cards + [_vanished(uuid, lease) for uuid, lease in lease_of.items()]


def _card(gpu: Gpu, lease: LeaseRecord | None, claim: str, idle_bytes: int) -> Card:
    """The first rule that fits decides."""
    if gpu.error:
        return Card(gpu, CardState.LOST, lease.job_id if lease else "", f"the card cannot be used: {gpu.error}")
    if lease:
        stranger = _stranger(gpu, lease, claim)
        reason = f"job {lease.job_id} shares the card with {stranger}, which holds no lease on it" if stranger else ""
        return Card(gpu, CardState.CONTENDED if stranger else CardState.LEASED, lease.job_id, reason)
    if gpu.processes:
        others = f" and {len(gpu.processes) - 1} more" if len(gpu.processes) > 1 else ""
        where = f", perhaps of the container {claim}," if claim else ""
        holder = _process_text(gpu.processes[0])
        return Card(gpu, CardState.FOREIGN, holder, f"a process{where}{others} uses the card without a lease")
    if claim:
        return Card(gpu, CardState.CLAIMED, claim, f"the container {claim} was given the card without a lease")
    if gpu.used_bytes > idle_bytes:
        return Card(gpu, CardState.ZOMBIE, "", f"{gpu.used_bytes / 1024**3:.1f} GiB are used though no process is on the card")
    return Card(gpu, CardState.FREE)


def _stranger(gpu: Gpu, lease: LeaseRecord, claim: str) -> str:
    """Who else is on a leased card; a process that cannot be told apart counts as the job's own."""
    if claim and claim != container_name(lease.job_id, lease.attempt):
        return f"the container {claim}"
    for process in gpu.processes:
        if lease.container_id and _CONTAINER_ID.fullmatch(lease.container_id):
            found = containers_of(process.pid)
            if found is not None and lease.container_id not in found:
                return f"the process {_process_text(process)}"
    return ""


def _doubtful(card: Card, why: str) -> Card:
    if card.state is not CardState.FREE:
        return card
    return replace(card, state=CardState.UNKNOWN, reason=f"containers that were given the card cannot be seen: {why}")


def _vanished(uuid: str, lease: LeaseRecord) -> Card:
    gone = Gpu(uuid=uuid, index=-1, error="not there")
    return Card(gone, CardState.LOST, lease.job_id, f"job {lease.job_id} holds the card, which is no longer there")


def _claim_on(gpu: Gpu, claims: Mapping[str, str]) -> str:
    """The container that was given the card: by uuid, by index as ``--gpus device=0`` gives it, or with all others."""
    return claims.get(gpu.uuid) or claims.get(str(gpu.index)) or claims.get(_ALL_CARDS) or ""


def containers_of(pid: int, proc: Path = Path("/proc")) -> tuple[str, ...] | None:
    """Ids of the containers a host process runs in, outermost first; () for none, None when it is gone or hidden.

    Docker, containerd and podman all have the 64 hexadecimal digits in the control group's path, under cgroup v1 and v2 alike.
    """
    try:
        groups = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return max((tuple(_CONTAINER_ID.findall(group)) for group in groups), key=len, default=())


def boot_id() -> str:
    """Changes with every boot of the host; '' where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _gpus(count: int) -> str:
    return "1 GPU is" if count == 1 else f"{count} GPUs are"


def _busy_text(card: Card) -> str:
    name = f"gpu{card.gpu.index}" if card.gpu.index >= 0 else card.gpu.uuid
    return f"{name} {card.state} ({card.holder or card.reason})"


def _process_text(process: GpuProcess) -> str:
    return f"pid {process.pid} {process.command}".rstrip()

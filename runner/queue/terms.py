"""The words between the queue and the scheduler: what waits, what runs, what is there, and the queue's answers."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that waits. ``wish`` is the canonical JSON of its ``GpuWish``, '' for any GPU; ``runtime_s`` the longest it may run, None when
    nobody knows; ``not_before`` keeps a job that is tried again out of the queue until then. Times are Unix seconds.
    """

    job_id: str
    user: str
    project: str
    priority: int
    submitted_at: float
    gpu_count: int
    cpu_count: float
    memory_bytes: int
    wish: str
    kind: str
    runtime_s: float | None = None
    not_before: float = 0.0

    @property
    def waits_since(self) -> float:
        """Since when it could run if there were room: its back-off does not count."""
        return max(self.submitted_at, self.not_before)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that holds what it was given. ``ends_by``: when it is ended at the latest, counted from its admission; None when nobody knows."""

    job_id: str
    user: str
    project: str
    gpu_uuids: tuple[str, ...]
    cpu_count: float
    memory_bytes: int
    ends_by: float | None = None


@dataclass(frozen=True)
class Host:
    """What the host has in all. ``job_slots``: jobs without GPUs that may run at once. ``blocked``: why nothing may start now, '' when it may."""

    cpu_count: float
    memory_bytes: int
    job_slots: int
    blocked: str = ""


@dataclass(frozen=True)
class Offer:
    """The devices of one job's wish: ``free`` now; ``eligible``, what it could use when it is free; ``busy``, why the others are not free.

    Where a rule keeps the job from using a device for reasons of its own (a pool's quota), the device is in neither: the queue must not keep
    it free for the job. The values of ``busy`` are for people and name the device: ``gpu3 foreign pid 4711 python``. ``groups``: sets of which
    one alone has to hold all devices of a job, the preferred first (the cards of each model); () when any will do together.
    """

    free: Collection[str]
    eligible: Collection[str]
    busy: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[Collection[str]] = ()


class Offers(Protocol):
    """What the GPUs offer at one moment; the queue asks once per wish, kind, user and project of a decision."""

    def offer(self, entry: Entry) -> Offer: ...


class ScopedOffers(Offers, Protocol):
    """Offers that say whom they treat alike: with the same scope, wish and kind the offer is the same, and is asked for once."""

    def scope(self, user: str, project: str) -> Hashable: ...


@dataclass(frozen=True)
class Share:
    """A user's or project's part of the GPUs: ``weight`` against others, quotas (None: no limit), and use so far, decayed up to now."""

    weight: float = 1.0
    max_gpus: int | None = None
    max_jobs: int | None = None
    usage_gpu_s: float = 0.0


#: Under ``("user", name)`` and ``("project", name)``; who is not in it has weight 1 and has used nothing.
Shares = Mapping[tuple[str, str], Share]


@dataclass(frozen=True)
class Start:
    """A job that may start now, on any ``gpu_count`` of the candidates that no earlier start of the decision has taken. There are enough."""

    job_id: str
    gpu_count: int
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """A blocked job that what becomes free is kept for. ``until``: when it can start at the latest, None when nobody knows."""

    job_id: str
    waits_since: float
    gpu_count: int
    until: float | None = None


@dataclass(frozen=True)
class Decision:
    """What may start, in order, and for whom the queue holds. Ask again after the starts: holds are decided for the worst choice of devices."""

    starts: tuple[Start, ...] = ()
    holds: tuple[Hold, ...] = ()

    @property
    def head(self) -> Hold | None:
        """The first job that others are held back for."""
        return self.holds[0] if self.holds else None


@dataclass(frozen=True)
class Waiting:
    """``position`` from 1, in the order of this moment; ``reason`` one line for people."""

    position: int
    reason: str

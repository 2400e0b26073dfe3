"""Days of a simulated host: jobs come, the real queue decides, jobs end. Minutes are the unit of the clock, seconds that of the queue."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from registry.shares import decay
from runner.queue import Entry, Host, Offer, Queue, Running, Share, Start, use_rate

MINUTE_S = 60.0
HALF_LIFE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Job:
    """Comes at ``minute`` and runs for ``minutes``. ``promised_minutes``: its timeout, None for none."""

    id: str
    minute: int
    minutes: int
    gpus: int = 1
    cpus: float = 1.0
    user: str = "ana"
    project: str = "default"
    priority: int = 0
    promised_minutes: int | None = None

    def entry(self) -> Entry:
        runtime_s = None if self.promised_minutes is None else self.promised_minutes * MINUTE_S
        return Entry(
            job_id=self.id,
            user=self.user,
            project=self.project,
            priority=self.priority,
            submitted_at=self.minute * MINUTE_S,
            gpu_count=self.gpus,
            cpu_count=self.cpus,
            memory_bytes=0,
            wish="",
            kind="training",
            runtime_s=runtime_s,
        )


@dataclass(frozen=True)
class Run:
    """A job that runs on these cards from one minute to another."""

    job: Job
    gpu_uuids: tuple[str, ...]
    begin: int

    @property
    def end(self) -> int:
        return self.begin + self.job.minutes

    def running(self) -> Running:
        promised = self.job.promised_minutes
        ends_by = None if promised is None else (self.begin + promised) * MINUTE_S
        return Running(self.job.id, self.job.user, self.job.project, self.gpu_uuids, self.job.cpus, 0, ends_by)


@dataclass
class SimulatedHost:
    """``run`` lets days pass; ``ended`` and ``active`` are every run there was. Cards of a start are drawn, to meet also the worst choice."""

    gpu_count: int = 8
    cpu_count: float = 1000.0
    job_slots: int = 1000
    hold_after_s: float = 600.0
    shares: Mapping[tuple[str, str], Share] = field(default_factory=dict)
    seed: int = 0
    active: list[Run] = field(default_factory=list)
    ended: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = Queue(self.hold_after_s)
        self.host = Host(self.cpu_count, 0, self.job_slots)
        self.cards = tuple(f"GPU-{number:02}" for number in range(self.gpu_count))
        self._random = random.Random(self.seed)
        self._jobs: dict[str, Job] = {}
        self._usage: dict[tuple[str, str], float] = {}

    def run(self, jobs: Iterable[Job], minutes: int) -> None:
        """Jobs in order of their minute."""
        coming = list(reversed(list(jobs)))
        for minute in range(minutes):
            self._end_runs(minute)
            while coming and coming[-1].minute <= minute:
                self._submit(coming.pop())
            self._admit(minute)
            self._charge()

    def offer(self, entry: Entry) -> Offer:  # noqa: ARG002 - asked by whoever
        """Every card is alike."""
        held = {uuid: run.job.id for run in self.active for uuid in run.gpu_uuids}
        return Offer(tuple(uuid for uuid in self.cards if uuid not in held), self.cards, held)

    def scope(self, user: str, project: str) -> None:
        """Everybody is offered the same."""

    @property
    def runs(self) -> list[Run]:
        return [*self.ended, *self.active]

    def gpu_minutes(self, minutes: int) -> dict[str, int]:
        """By user, of the days so far."""
        used: dict[str, int] = {}
        for run in self.runs:
            used[run.job.user] = used.get(run.job.user, 0) + (min(run.end, minutes) - run.begin) * len(run.gpu_uuids)
        return used

    def _submit(self, job: Job) -> None:
        self._jobs[job.id] = job
        self.queue.add(job.entry())

    def _end_runs(self, minute: int) -> None:
        over = [run for run in self.active if run.end <= minute]
        self.ended += over
        self.active = [run for run in self.active if run.end > minute]

    def _admit(self, minute: int) -> None:
        while starts := self._decide(minute):
            free = set(self.offer(self.queue.get(starts[0].job_id)).free)
            for start in starts:
                chosen = self._choose(start, free)
                free.difference_update(chosen)
                self.active.append(Run(self._jobs[start.job_id], chosen, minute))
                self.queue.remove(start.job_id)

    def _decide(self, minute: int) -> Sequence[Start]:
        now = minute * MINUTE_S
        return self.queue.decide(self.host, [run.running() for run in self.active], self, self._shares(), now).starts

    def _choose(self, start: Start, free: set[str]) -> tuple[str, ...]:
        candidates = [uuid for uuid in start.candidates if uuid in free]
        return tuple(self._random.sample(candidates, start.gpu_count))  # ValueError when the queue promised too much

    def _shares(self) -> dict[tuple[str, str], Share]:
        owners = {*self.shares, *self._usage}
        return {owner: replace(self.shares.get(owner, Share()), usage_gpu_s=self._usage.get(owner, 0.0)) for owner in owners}

    def _charge(self) -> None:
        """The minute that begins, and the decay of those before it."""
        for owner, usage in self._usage.items():
            self._usage[owner] = decay(usage, 0.0, MINUTE_S, HALF_LIFE_S)
        for run in self.active:
            for owner in (("user", run.job.user), ("project", run.job.project)):
                used = use_rate(len(run.gpu_uuids), run.job.cpus, self.host) * MINUTE_S
                self._usage[owner] = self._usage.get(owner, 0.0) + used


def wide_job_day(load: float, seed: int, *, minutes: int = 1440, promises: bool = False, user_of_wide: str = "ana") -> list[Job]:
    """A stream of jobs of 1 card and 5 to 15 minutes that keeps ``load`` x 10 cards busy, and one of 8 cards and an hour at minute 60."""
    chance = random.Random(seed)
    jobs = []
    for minute in range(minutes):
        if chance.random() < load:
            duration = chance.randint(5, 15)
            jobs.append(Job(f"s{minute:05}", minute, duration, promised_minutes=duration if promises else None))
        if minute == 60:
            jobs.append(Job("wide", minute, 60, gpus=8, user=user_of_wide, promised_minutes=60 if promises else None))
    return jobs

"""What one look at a long queue costs, beside sorting and scanning the same jobs, and what the queue does for a job that needs every card.

Decisions are timed on a host of 64 GPUs with jobs of many shapes, owners and priorities; processor time, median. The floor of the first rows is
the least that decides without an index: one sort by priority, share and age, and one look at each job. ``p99`` and ``explain`` are ours too.
Where a long queue is set against a shorter one, that one's decision is the floor.

The last rows are simulated days of 8 cards (``benchmarks/simulation``): how long one 8-card job waits among a stream of 1-card jobs of up to
15 minutes. There the floor is the promised bound: the time before a hold, and the longest job that runs.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measure import Row, compare, cost_of_call
from benchmarks.simulation.day import Job, SimulatedHost, wide_job_day
from runner.queue import Entry, Host, Offer, Queue, Running, Share

GOAL_MS = 5.0
FLAT = 1.5
BOUND_MIN = 10 + 15
CARDS = tuple(f"GPU-{number:02}" for number in range(64))
HOST = Host(cpu_count=256.0, memory_bytes=2**41, job_slots=64)
#: Cards and slots in use, and what to call it.
BUSY = {64: "all busy", 60: "4 cards and slots free", 0: "all free"}
NOW = 1_750_000_000.0
_NEVER_MIN = 1440 - 60


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    counts = (100, 1000) if quick else (1000, 10_000, 100_000)
    repeats = 3 if quick else 200
    rows = [row for users in (20, 1000) for row in _decision_rows(counts, users, repeats)]
    rows += [_shapes_row(counts[-2], repeats), _adding_row(counts[-1])]
    for load in (0.55,) if quick else (0.4, 0.55, 0.7):
        rows += _wide_job_rows(load, seeds=1 if quick else 20)
    return rows


# ---------------------------------------------------------------------------------------------------------------- decisions


@dataclass
class Scene:
    """A queue with so many jobs, and a host with so many busy cards and as many slots taken."""

    entries: Sequence[Entry]
    busy: int
    users: int

    def __post_init__(self) -> None:
        self.queue = Queue()
        _fill(self.queue, self.entries)
        chance = random.Random(7)
        self.shares = {("user", f"u{number}"): Share(usage_gpu_s=chance.random() * 1e6) for number in range(self.users)}
        self.running = [_running(first, CARDS[first : first + 2], chance) for first in range(0, self.busy, 2)]
        self.running += [_running(len(CARDS) + number, (), chance) for number in range(self.busy)]
        self._offer = Offer(CARDS[self.busy :], CARDS)

    def offer(self, entry: Entry) -> Offer:  # noqa: ARG002 - every card is alike
        return self._offer

    def scope(self, user: str, project: str) -> None:
        """Everybody is offered the same."""

    def decide(self) -> None:
        self.queue.decide(HOST, self.running, self, self.shares, NOW)

    def explain(self) -> None:
        self.queue.explain(self.entries[len(self.entries) // 2].job_id, HOST, self.running, self, self.shares, NOW)

    def sort_and_scan(self) -> int:
        """Every job in order, counting those for which there are cards and slots."""
        used = {name: share.usage_gpu_s for (_, name), share in self.shares.items()}
        free, slots, started = len(CARDS) - self.busy, HOST.job_slots - self.busy, 0
        for entry in sorted(self.entries, key=lambda one: (-one.priority, used.get(one.user, 0.0), one.submitted_at)):
            if entry.gpu_count <= free and (entry.gpu_count or slots):
                free, slots, started = free - entry.gpu_count, slots - (not entry.gpu_count), started + 1
        return started


def jobs(count: int, users: int, *, shapes: bool = False) -> Iterator[Entry]:
    """Jobs of 5 sizes, 2 kinds, 4 run times and 3 priorities; with ``shapes`` no two ask for the same."""
    chance = random.Random(count)
    for number in range(count):
        gpus = chance.choice((0, 1, 1, 2, 4, 8))
        user = chance.randrange(users)
        yield Entry(
            job_id=f"t{number:06}",
            user=f"u{user}",
            project=f"p{user % 10}",
            priority=chance.choice((0, 0, 0, 5, -5)),
            submitted_at=NOW - count + number,
            gpu_count=gpus,
            cpu_count=max(1.0, 2.0 * gpus),
            memory_bytes=2**30 + (number if shapes else 0),
            wish="",
            kind=chance.choice(("training", "mining")),
            runtime_s=chance.choice((None, 3600.0, 14_400.0, 86_400.0)),
        )


def _running(number: int, uuids: tuple[str, ...], chance: random.Random) -> Running:
    ends_by = NOW + chance.random() * 86_400 if chance.random() < 0.5 else None
    return Running(f"r{number}", f"u{number % 7}", "p1", uuids, 1.0, 2**30, ends_by)


def _decision_rows(counts: Sequence[int], users: int, repeats: int) -> list[Row]:
    rows, medians, scenes = [], {}, {}
    for count in counts:
        waiting = list(jobs(count, users))
        for busy, word in BUSY.items():
            scene = scenes[count, busy] = Scene(waiting, busy, users)
            times = _times_ms(scene.decide, repeats)
            medians[count, busy] = statistics.median(times)
            peers = {"p99": _p99(times), "explain": statistics.median(_times_ms(scene.explain, max(repeats // 10, 3)))}
            rows.append(
                _paired_row(f"{count:,} jobs, {users} users, {word}", scene.decide, scene.sort_and_scan, max(repeats // 20, 3), peers)
            )
    small, large = counts[-2:]
    worst = max(median for (count, _), median in medians.items() if count == small)
    rows.append(_row(f"{small:,} jobs, {users} users, slowest of these against {GOAL_MS:g} ms", worst, GOAL_MS, worst / GOAL_MS, 1.0))
    case = f"{large:,} jobs against {small:,}, {users} users"
    flat = [
        _paired_row(f"{case}, {word}", scenes[large, busy].decide, scenes[small, busy].decide, repeats, goal=FLAT)
        for busy, word in BUSY.items()
    ]
    return rows + flat


def _shapes_row(count: int, repeats: int) -> Row:
    scene = Scene(list(jobs(count, 1000, shapes=True)), 60, 1000)
    return _paired_row(f"{count:,} jobs, no two of which ask for the same", scene.decide, scene.sort_and_scan, max(repeats // 20, 3))


def _adding_row(count: int) -> Row:
    waiting = list(jobs(count, 1000))
    case = f"adding {count:,} jobs; floor: a sorted dictionary"
    return _paired_row(case, lambda: _fill(Queue(), waiting), lambda: sorted({entry.job_id: entry for entry in waiting}), 3)


def _fill(queue: Queue, entries: Sequence[Entry]) -> None:
    for entry in entries:
        queue.add(entry)


def _times_ms(call: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each call; the first is not counted."""
    call()
    times = []
    gc.disable()
    for _ in range(repeats):
        begin = time.process_time_ns()
        call()
        times.append((time.process_time_ns() - begin) / 1e6)
    gc.enable()
    return times


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[math.ceil(len(times) * 0.99) - 1]


def _paired_row(
    case: str,
    ours: Callable[[], object],
    floor: Callable[[], object],
    pairs: int,
    peers: dict[str, float] | None = None,
    goal: float | None = None,
) -> Row:
    """Both in turn, so that what else the machine does weighs on both; the ratio is the median over the pairs."""
    costs = compare(lambda: cost_of_call(ours), lambda: cost_of_call(floor), pairs)
    ours_ms, floor_ms = ([cost.cpu_s * 1000 for cost in one] for one in costs)
    ratio = statistics.median(a / b for a, b in zip(ours_ms, floor_ms, strict=True))
    return _row(case, statistics.median(ours_ms), statistics.median(floor_ms), ratio, goal, peers)


def _row(
    case: str, ours: float, floor: float, ratio: float, goal: float | None = None, peers: dict[str, float] | None = None, unit: str = "ms"
) -> Row:
    shown = {name: round(value, 3) for name, value in (peers or {}).items()}
    return Row(case, ours=round(ours, 4), floor=round(floor, 4), unit=unit, ratio=round(ratio, 3), goal=goal, peers=shown)


# ----------------------------------------------------------------------------------------------------------- simulated days


def _wide_job_rows(load: float, seeds: int) -> list[Row]:
    """The worst wait over the seeds for each way to decide; beside it the median, and the mean wait of all jobs."""
    ways = {"hold": (600.0, False), "EASY": (600.0, True), "greedy": (math.inf, False)}
    rows = []
    for way, (hold_after_s, promises) in ways.items():
        days = [_day(hold_after_s, wide_job_day(load, seed, promises=promises), seed) for seed in range(seeds)]
        waits = sorted(wait for wait, _ in days)
        peers = {"median": waits[len(waits) // 2], "mean": statistics.mean(mean for _, mean in days)}
        case = f"8-card job, {load * 10:g} of 8 busy, {way}, worst of {seeds} days"
        rows.append(_row(case, waits[-1], BOUND_MIN, waits[-1] / BOUND_MIN, None if way == "greedy" else 1.0, peers, "min"))
    return rows


def _day(hold_after_s: float, coming: list[Job], seed: int) -> tuple[float, float]:
    """Minutes that the wide job waited (to the end of the day when it never started), and that all waited on average."""
    host = SimulatedHost(hold_after_s=hold_after_s, seed=seed)
    host.run(coming, 1440)
    waits = {run.job.id: run.begin - run.job.minute for run in host.runs}
    return waits.get("wide", _NEVER_MIN), statistics.mean(waits.values())

"""A row of a benchmark, the machine it was measured on, and paired measurements that a noisy machine cannot tilt."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One case. ``ours`` and ``floor`` in ``unit``; ``floor`` is the least that could do the same, ``peers`` are other programs that do it.

    ``ratio`` is ours to floor, the median over pairs; lower is better. ``goal`` is the highest ratio wanted, None for none.
    """

    case: str
    ours: float
    floor: float
    unit: str
    ratio: float
    goal: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.ratio <= self.goal

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "peers": dict(self.peers), "met": self.met}


@dataclass(frozen=True)
class Sheet:
    """A table of a benchmark whose cases are not "ours beside a floor": as many cells in each row as there are columns, and sentences under it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


@dataclass(frozen=True)
class Cost:
    """What one run took, in seconds: processor time of the process and its children, and time on the wall."""

    cpu_s: float
    wall_s: float


def cost_of_command(command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> Cost:
    """Runs a command once and waits for it. Raises ``CalledProcessError`` when it fails: a failure is never a fast run."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)  # reaped here, for the usage
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [str(part) for part in command])
    return Cost(usage.ru_utime + usage.ru_stime, wall_s)


def cost_of_call(call: Callable[[], object]) -> Cost:
    """Calls a function of this process once."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def compare(ours: Callable[[], Cost], floor: Callable[[], Cost], pairs: int) -> tuple[list[Cost], list[Cost]]:
    """Costs of both in turn, A B A B: what else the machine does then weighs on both. One run of each goes before and is not counted."""
    ours(), floor()
    measured = [(ours(), floor()) for _ in range(pairs)]
    return [pair[0] for pair in measured], [pair[1] for pair in measured]


def rows_of(case: str, ours: Sequence[Cost], floor: Sequence[Cost], *, goal: float | None, unit: str = "s") -> list[Row]:
    """Two rows, processor time and wall time, as medians; the goal is on processor time, which a busy machine disturbs least."""
    return [
        Row(
            f"{case}, {word}",
            ours=_median([getattr(cost, name) for cost in ours]),
            floor=_median([getattr(cost, name) for cost in floor]),
            unit=unit,
            ratio=_median([getattr(a, name) / max(getattr(b, name), 1e-9) for a, b in zip(ours, floor, strict=True)]),
            goal=goal if name == "cpu_s" else None,
        )
        for name, word in (("cpu_s", "processor time"), ("wall_s", "wall time"))
    ]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 6)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())

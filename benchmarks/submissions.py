"""Durable submissions in a second: whole jobs checked, planned and stored by a running service, beside bare inserts into the same kind of file.

The floor commits a row of about the size of a job, one in a transaction, with the same settings of SQLite (WAL, ``synchronous=FULL``), by one
thread and by as many as submit; each of those has a connection of its own. The numbers are seconds for each. Nothing is started meanwhile.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.images import SLEEP, small_image
from benchmarks.measure import Row
from contracts.job import JobSpec
from runner.client import find_server
from runner.samples import make_digits
from runner.serve import Service
from runner.settings import load_settings

FLOOR_GOAL = 1 / 0.5
MOST_S = 1 / 1000
_THREADS = 16
_ROW_BYTES = 2000
_NEVER = str(2**62)


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    count, rounds = (32, 1) if quick else (800, 7)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        scratch = Path(folder)
        settings = load_settings({"engine": "process", "home": f"{scratch}/home", "disk_floor_bytes": _NEVER})
        with Service(settings) as service, ThreadPoolExecutor(_THREADS) as pool:
            spec = _prepare(service.runner, scratch)
            door = find_server(settings)
            if door is None:
                raise RuntimeError("the service that should be measured does not answer")
            with door:
                ways = {
                    "service": lambda: _each(pool, lambda: service.runner.submit(spec), count),
                    "door": lambda: _each(pool, lambda: door.submit(spec), count),
                    "1 thread": lambda: _inserts(scratch, 1, count),
                    f"{_THREADS} threads": lambda: _inserts(scratch, _THREADS, count),
                }
                times = _in_turn(ways, rounds)
    return _rows(times)


def _prepare(runner: Any, scratch: Path) -> JobSpec:
    runner.build_image(small_image(scratch / "image", SLEEP), name="sleeper-bench")
    make_digits(scratch / "scenes", train=2, val=2, pool=1, size=96)
    runner.import_dataset("scenes", scratch / "scenes")
    return JobSpec(kind="training", image="sleeper-bench", train_data="scenes")


def _in_turn(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """One of each goes before and is not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, measure in ways.items():
            seconds = measure()
            if number:
                times[way].append(seconds)
    return times


def _each(pool: ThreadPoolExecutor, action: Callable[[], object], count: int) -> float:
    """Seconds for each, with all threads at work."""
    begin = time.perf_counter()
    for done in [pool.submit(action) for _ in range(count)]:
        done.result()
    return (time.perf_counter() - begin) / count


def _inserts(scratch: Path, threads: int, count: int) -> float:
    """Seconds for each of ``count`` transactions by so many threads."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder, ThreadPoolExecutor(threads) as pool:
        file = Path(folder) / "floor.db"
        with closing(_connect(file)) as connection:
            connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, document TEXT)")
        begin = time.perf_counter()
        for done in [pool.submit(_insert, file, count // threads) for _ in range(threads)]:
            done.result()
        return (time.perf_counter() - begin) / (count // threads * threads)


def _insert(file: Path, count: int) -> None:
    with closing(_connect(file)) as connection:
        for _ in range(count):
            connection.execute("INSERT INTO jobs (document) VALUES (?)", ("x" * _ROW_BYTES,))


def _connect(file: Path) -> sqlite3.Connection:
    """Every statement commits, durably."""
    connection = sqlite3.connect(file, timeout=60.0, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _rows(times: dict[str, list[float]]) -> list[Row]:
    floors = ["1 thread", f"{_THREADS} threads"]
    rows = [
        _row(f"submit by {_THREADS} threads, {word}; floor: inserts by {floor}", times[way], times[floor], FLOOR_GOAL if goal else None)
        for way, word, goal in (("service", "in the service's process", True), ("door", "over its unix socket", False))
        for floor in floors
    ]
    ours = statistics.median(times["service"])
    return [
        *rows,
        Row("submit in the service's process, against 1,000 a second", round(ours, 6), MOST_S, "s", round(ours / MOST_S, 3), 1.0),
    ]


def _row(case: str, ours: list[float], floor: list[float], goal: float | None) -> Row:
    ratio = statistics.median(mine / least for mine, least in zip(ours, floor, strict=True))
    return Row(case, round(statistics.median(ours), 6), round(statistics.median(floor), 6), "s", round(ratio, 3), goal)

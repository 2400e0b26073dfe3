"""Eight processes lease cards of one host at random: what a lease costs, and that no card ever has two holders.

Ours is lease and release with all that belongs to them: three books read twice, the choice, the second look, the look for what is left. The
floor is what any such book must at least write: in bare SQLite, with the same durability, a lease is taken, marked and given back. Both use
the same cards in turn, and mark each card they hold by a folder that only one can make.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from benchmarks.measure import Row
from contracts.errors import NoGpuError
from plugins.gpus.fake import FILE_VARIABLE, FakeSource
from registry.database import Database
from runner.gpus import GpuPool

PROCESSES = 8
CARDS = 8
_SCHEMA = """
CREATE TABLE lease (id INTEGER PRIMARY KEY, job TEXT UNIQUE, state TEXT);
CREATE TABLE slot (uuid TEXT PRIMARY KEY, lease INTEGER);
"""

#: Takes a job's cards, or none of them, by a transaction; and gives them back.
Take = Callable[[str, int], Sequence[str]]
Release = Callable[[str], object]


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    rounds, pairs = (3, 1) if quick else (200, 3)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        world = Path(folder)
        (world / "cards.json").write_text(json.dumps([{"uuid": uuid} for uuid in _uuids()]), encoding="utf-8")
        _make_floor(world)
        Database.open(world / "sluice.db").close()
        measured = [(_contest("ours", world, rounds, turn), _contest("floor", world, rounds, turn)) for turn in range(pairs)]
    return _rows(measured)


def _rows(measured: list[tuple[dict[str, float], dict[str, float]]]) -> list[Row]:
    ours, floor = (statistics.median(pair[side]["ms_per_lease"] for pair in measured) for side in (0, 1))
    ratio = statistics.median(one["ms_per_lease"] / other["ms_per_lease"] for one, other in measured)
    overlaps = sum(one["overlaps"] for one, _ in measured)
    leases = sum(one["leases"] for one, _ in measured)
    per_s = statistics.median(one["leases"] / one["wall_s"] for one, _ in measured)
    floor_per_s = statistics.median(other["leases"] / other["wall_s"] for _, other in measured)
    return [
        Row(f"a lease among {PROCESSES} processes on {CARDS} cards", round(ours, 3), round(floor, 3), "ms", round(ratio, 3)),
        Row("leases of all processes together", round(per_s, 1), round(floor_per_s, 1), "per s", round(floor_per_s / per_s, 3)),
        Row("leases whose cards nobody else held", leases - overlaps, leases, "leases", leases / max(leases - overlaps, 1), goal=1.0),
    ]


def _contest(kind: str, world: Path, rounds: int, turn: int) -> dict[str, float]:
    """All processes at once, from the word to begin until the last has done its rounds."""
    environment = {**os.environ, FILE_VARIABLE: str(world / "cards.json")}
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.gpu_leases", kind, world, str(rounds)]
    workers = [
        subprocess.Popen([*command, f"{turn}{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        for number in range(PROCESSES)
    ]
    for worker in workers:
        _line_of(worker)  # it is ready
    begin = time.perf_counter()
    for worker in workers:
        _begin(worker)
    answers = [json.loads(_line_of(worker)) for worker in workers]
    wall_s = time.perf_counter() - begin
    for worker in workers:
        worker.communicate()
    leases, overlaps = (sum(answer[name] for answer in answers) for name in ("leases", "overlaps"))
    return {"leases": leases, "overlaps": overlaps, "wall_s": wall_s, "ms_per_lease": wall_s * 1000 / max(leases, 1)}


def _begin(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    worker.stdin.write(b"\n")
    worker.stdin.flush()


def _line_of(worker: subprocess.Popen[bytes]) -> bytes:
    assert worker.stdout is not None
    return worker.stdout.readline()


# -------------------------------------------------------------------------------------------------------------- one process


def work(kind: str, world: Path, rounds: int, name: str) -> dict[str, int]:
    """Leases 1 to 3 cards at random, as often as there are rounds; what is refused is not tried again."""
    take, release = _ours(world) if kind == "ours" else _floor(world)
    random, found = Random(name), {"leases": 0, "overlaps": 0}
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(rounds):
        job_id = f"{name}x{turn:05}"
        uuids = take(job_id, random.randint(1, 3))
        if uuids:
            found["leases"] += 1
            found["overlaps"] += _hold(world, uuids)
            release(job_id)
    return found


def _hold(world: Path, uuids: Sequence[str]) -> int:
    """How many of the cards somebody else holds too."""
    made = [world / f"held-{uuid}" for uuid in uuids]
    overlaps = 0
    for folder in made:
        try:
            folder.mkdir()
        except FileExistsError:
            overlaps += 1
    for folder in made:
        folder.rmdir()
    return overlaps


def _ours(world: Path) -> tuple[Take, Release]:
    database = Database.open(world / "sluice.db")
    pool = GpuPool(source=FakeSource(), claims=dict, database=database, host="bench", lock_file=world / "lock")

    def take(job_id: str, count: int) -> Sequence[str]:
        try:
            return pool.lease(job_id, 1, count)
        except NoGpuError:
            return ()

    return take, lambda job_id: pool.release(job_id, 1)


# -------------------------------------------------------------------------------------------------------------- the floor


def _make_floor(world: Path) -> None:
    with sqlite3.connect(world / "floor.db") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
        database.executemany("INSERT INTO slot VALUES (?, NULL)", [(uuid,) for uuid in _uuids()])


def _floor(world: Path) -> tuple[Take, Release]:
    database = sqlite3.connect(world / "floor.db", timeout=30, isolation_level=None)
    database.execute("PRAGMA synchronous = FULL")

    def take(job_id: str, count: int) -> Sequence[str]:
        database.execute("BEGIN IMMEDIATE")
        uuids = [uuid for (uuid,) in database.execute("SELECT uuid FROM slot WHERE lease IS NULL ORDER BY uuid LIMIT ?", (count,))]
        if len(uuids) < count:
            database.execute("ROLLBACK")
            return ()
        lease_id = database.execute("INSERT INTO lease (job, state) VALUES (?, 'reserved')", (job_id,)).lastrowid
        database.executemany("UPDATE slot SET lease = ? WHERE uuid = ?", [(lease_id, uuid) for uuid in uuids])
        database.execute("COMMIT")
        _change(database, "UPDATE lease SET state = 'starting' WHERE job = ?", job_id)
        return uuids

    def release(job_id: str) -> None:
        freed = "UPDATE slot SET lease = NULL WHERE lease = (SELECT id FROM lease WHERE job = ?)"
        _change(database, freed, job_id, "UPDATE lease SET state = 'released' WHERE job = ?")

    return take, release


def _change(database: sqlite3.Connection, statement: str, job_id: str, *more: str) -> None:
    database.execute("BEGIN IMMEDIATE")
    for each in (statement, *more):
        database.execute(each, (job_id,))
    database.execute("COMMIT")


def _uuids() -> list[str]:
    return [f"GPU-{index}" for index in range(CARDS)]


if __name__ == "__main__":
    _, _kind, _world, _rounds, _name = sys.argv
    print(json.dumps(work(_kind, Path(_world), int(_rounds), _name)), flush=True)

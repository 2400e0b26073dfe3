"""How soon a service that was killed has all its running jobs again: from its start, with everything imported, until a driver follows each.

The floor is the least that could know of them: the database opened, one query for the jobs, one list of the containers. Every restart is a process
of its own that is killed when it was measured; the containers go on.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.images import SLEEP, small_image
from benchmarks.measure import Row
from contracts.job import JobSpec
from runner.samples import make_digits
from runner.serve import Service
from runner.service import Runner
from runner.settings import Settings, environment_of, load_settings

GOAL_MS = 250.0
_RESTART = """
import os, sys, time, threading
import runner.rpc, runner.execute, runner.results, plugins.engines.docker, plugins.engines.process, plugins.dialects.ymir
from registry import queued
from runner.containers import ContainerBook
from runner.installation import Installation
from runner.serve import Service
from runner.service import Runner
from runner.settings import load_settings
count, settings = int(sys.argv[1]), load_settings()
followed, all_followed, wait_for_end = set(), threading.Event(), ContainerBook.wait_for_end

def wait(book, name, deadline):
    followed.add(name)
    if len(followed) == count:
        all_followed.set()
    return wait_for_end(book, name, deadline)

def know():
    installation = Installation(settings)
    with installation.database.reading() as session:
        known = queued.list_admitted(session)
    return min(len(known), len(installation.engine.list_containers({"sluice.installation": installation.id})))

begin = time.perf_counter()
if sys.argv[2] == "floor":
    assert know() == count
else:
    ContainerBook.wait_for_end = wait
    service = Service(settings).__enter__()
    assert all_followed.wait(60.0), f"only {len(followed)} of {count} jobs are followed"
print(time.perf_counter() - begin, flush=True)
os._exit(0)
"""


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    jobs, restarts = (10, 2) if quick else (100, 30)
    return [row for engine in ("process", "docker") for row in _measure(engine, jobs, restarts)]


def _measure(engine: str, jobs: int, restarts: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        options = {"engine": engine, "home": f"{folder}/home", "job_slots": str(jobs), "disk_floor_bytes": "0", "stop_grace_s": "0"}
        settings = load_settings(options)
        try:
            _start_jobs(settings, Path(folder), jobs)
            pairs = [(_restart(settings, jobs, "service"), _restart(settings, jobs, "floor")) for _ in range(restarts)]
        finally:
            _cancel_all(settings)
    return _rows(f"{jobs} running jobs, {engine}", [ours for ours, _ in pairs], [floor for _, floor in pairs])


def _rows(case: str, ours: list[float], floor: list[float]) -> list[Row]:
    p99 = sorted(ours)[math.ceil(len(ours) * 0.99) - 1]
    ratio = round(statistics.median(mine / least for mine, least in zip(ours, floor, strict=True)), 3)
    middle = Row(f"{case}, all followed, median", _ms(statistics.median(ours)), _ms(statistics.median(floor)), "ms", ratio)
    return [middle, Row(f"{case}, p99 against {GOAL_MS:g} ms", _ms(p99), GOAL_MS, "ms", round(p99 * 1000 / GOAL_MS, 3), 1.0)]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _start_jobs(settings: Settings, scratch: Path, count: int) -> None:
    """By a service that is gone afterwards, as if it had been killed."""
    with Service(settings) as service:
        service.runner.build_image(small_image(scratch / "sleeper", SLEEP), name="sleeper-bench")
        make_digits(scratch / "scenes", train=2, val=2, pool=1, size=96)
        service.runner.import_dataset("scenes", scratch / "scenes")
        spec = JobSpec(kind="training", image="sleeper-bench", train_data="scenes", memory_bytes=1 << 26)
        for _ in range(count):
            service.runner.submit(spec)
        deadline = time.monotonic() + 600.0
        while any(job["step"] != "follow" for job in service.runner.list_jobs(limit=count)["jobs"]):
            if time.monotonic() > deadline:
                raise RuntimeError("the jobs that should be running did not all start within 10 minutes")
            time.sleep(0.5)


def _restart(settings: Settings, count: int, what: str) -> float:
    """Seconds, of a process of its own."""
    environment = {**os.environ, **environment_of(settings)}
    command = [sys.executable, "-c", _RESTART, str(count), what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the service that should be measured failed: {done.stderr[-2000:]}")
    return float(done.stdout)


def _cancel_all(settings: Settings) -> None:
    with Service(settings) as service:
        unfinished = [job["id"] for job in service.runner.list_jobs(states=("queued", "running"), limit=10_000)["jobs"]]
        for job_id in unfinished:
            service.runner.cancel_job(job_id, wait=False)
        for job_id in unfinished:
            for _ in service.runner.watch(job_id):
                pass
    with Runner.open(settings) as runner:
        runner.sweep()

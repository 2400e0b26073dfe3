"""Kills the service, the engine, its socket and the disk under a crowd of real containers, then looks for what was lost. All must be 0.

``run`` works against an engine of its own, which it may kill; ``try_to_lose`` against any. KILL_MATRIX_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.kill_matrix.crowd import Crowd, furnish
from benchmarks.kill_matrix.engine import private_engine
from benchmarks.kill_matrix.judge import KINDS, Finding, count_excused, judge
from benchmarks.kill_matrix.killer import Killer, plan_lives, run_lives
from benchmarks.kill_matrix.proxy import SocketProxy
from benchmarks.kill_matrix.trouble import DiskFull, EngineKilled, SocketCut, Trouble, Window, draw_lengths
from benchmarks.kill_matrix.witness import Witness
from benchmarks.measure import Row
from runner.service import Runner
from runner.settings import Settings, load_settings

_KILLS = 200
_CROWD = 30
_PATIENCE_S = 240.0
_HOME_BYTES = 1 << 30
_FLOOR_BYTES = 32 << 20


@dataclass(frozen=True)
class Result:
    """``kills`` and ``troubles`` count by kind; ``excused`` ends that a trouble explains, ``refused`` requests to repeat."""

    seed: int
    kills: Counter[str]
    troubles: Counter[str]
    jobs: Counter[str]
    findings: Sequence[Finding]
    excused: Counter[str]
    refused: int
    peak: int
    seconds: float
    windows: Sequence[Window] = field(default_factory=list)


def run(*, quick: bool = False) -> list[Row]:
    """One row for each kind of loss. ``quick``: a few kills, one trouble of each kind."""
    seed = int(os.environ.get("KILL_MATRIX_SEED") or random.SystemRandom().randrange(10**6))
    with private_engine() as engine, _tmpfs(engine.folder / "place" / "home") as home:
        proxy = SocketProxy(engine.folder / "proxy.sock", engine.folder / "docker.sock")
        proxy.start()
        kinds: list[Callable[[], Trouble]] = [
            lambda: EngineKilled(engine, live_restore=False),
            lambda: EngineKilled(engine, live_restore=True),
            lambda: SocketCut(proxy, mute=False),
            lambda: SocketCut(proxy, mute=True),
            lambda: DiskFull(home),
        ]
        with _environment(DOCKER_HOST=proxy.host, **engine.gpu_environment):
            settings = load_settings({**OVERRIDES, "home": str(home), "gpu_lock": str(engine.folder / "gpu.lock")})
            try:
                result = try_to_lose(settings, seed, 20 if quick else _KILLS, kinds * (1 if quick else 4), engine.host, "probe")
            finally:
                proxy.close()
            _show(result)
            _keep_evidence(result, home.parent)
    return [Row(kind, float(count), 0.0, "found", float(count), goal=0.0) for kind, count in _count(result).items()]


OVERRIDES = {
    "engine": "docker",
    "gpus": "fake",
    "poll_interval_s": "0.1",
    "stop_grace_s": "1",
    "job_slots": "20",
    "retry_backoff_s": "0.2",
    "retry_limit": "10",
    "retry_reasons": "engine_gone gpu_lost pull_failed silent",
    "disk_floor_bytes": str(_FLOOR_BYTES),
}


def try_to_lose(
    settings: Settings,
    seed: int,
    kills: int,
    troubles: Sequence[Callable[[], Trouble]] = (),
    host: str = "unix:///var/run/docker.sock",
    gpu_image: str = "probe",
    furnishing: Callable[[Runner], None] = lambda _: None,
    crowd_size: int = _CROWD,
) -> Result:
    """Kills the service of a new home so often, with the troubles spread over the lives. ``host`` is where the engine's own words are heard."""
    rng, began = random.Random(seed), time.monotonic()
    with Runner.open(settings) as runner:
        furnish(runner, settings.home.parent)
        furnishing(runner)
        crowd, killer = Crowd(runner, rng, crowd_size, gpu_image), Killer(settings)
        witness = Witness(host, f"sluice.installation={runner._installation.id}")
        witness.start()
        try:
            happened = _live(crowd, killer, rng, kills, troubles)
            killer.last_life(crowd.finish, _PATIENCE_S)
        finally:
            killer.kill_leftover()
            time.sleep(0.5)  # for the engine's last words
            witness.close()
        windows = [trouble.window for trouble in happened if trouble.window]
        findings, excused = judge(runner, crowd, witness.events(), windows), count_excused(runner, crowd)
    findings += [Finding("services that ended themselves", "", words) for words in killer.problems]
    return Result(
        seed=seed,
        kills=killer.kills,
        troubles=Counter(trouble.kind for trouble in happened),
        jobs=Counter(member.load.name for member in crowd.members),
        findings=findings,
        excused=excused,
        refused=len(crowd.failures),
        peak=witness.peak(),
        seconds=time.monotonic() - began,
        windows=windows,
    )


def _live(crowd: Crowd, killer: Killer, rng: random.Random, kills: int, troubles: Sequence[Callable[[], Trouble]]) -> list[Trouble]:
    """All lives; troubles begin with some of them, one at a time, and go on over the kills."""
    happened: list[Trouble] = []
    waiting = rng.sample(troubles, len(troubles))
    plans = plan_lives(rng, kills)
    every = max(1, kills // (len(waiting) + 1))
    for number, _ in enumerate(run_lives(killer, plans, crowd.tend), 1):
        if waiting and number % every == 0:
            _finish(happened)
            happened.append(waiting.pop()())
            happened[-1].happen(*draw_lengths(rng))
    _finish(happened)
    return happened


def _finish(happened: Sequence[Trouble]) -> None:
    if not happened:
        return
    while not happened[-1].is_over:
        time.sleep(0.1)
    if happened[-1].error:
        raise happened[-1].error


# ------------------------------------------------------------------------------------------------------------------ the frame


@contextmanager
def _tmpfs(folder: Path) -> Iterator[Path]:
    """A small disk of its own, so that it can be filled."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_HOME_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _count(result: Result) -> dict[str, int]:
    counted = Counter(finding.kind for finding in result.findings)
    return {kind: counted[kind] for kind in KINDS}


def _show(result: Result) -> None:
    """To stderr: stdout may be one JSON document."""
    console = Console(stderr=True)
    table = Table("what was killed", "times", title=f"kill matrix, seed {result.seed}")
    for counts in (result.kills, result.troubles):
        for kind, count in sorted(counts.items()):
            table.add_row(kind, str(count))
        table.add_section()
    table.add_row("kills of the service", str(result.kills.total()))
    table.add_row("jobs", str(result.jobs.total()))
    for reason, count in sorted(result.excused.items()):
        table.add_row(f"jobs that ended as {reason} for a trouble", str(count))
    table.add_row("containers at once, at most", str(result.peak))
    table.add_row("requests that had to be repeated", str(result.refused))
    table.add_row("seconds", f"{result.seconds:.0f}")
    console.print(table)
    for finding in result.findings:
        print(finding, file=sys.stderr)


def _keep_evidence(result: Result, place: Path) -> None:
    if result.findings:
        kept = Path(tempfile.gettempdir()) / f"kill-matrix-{result.seed}"
        shutil.copytree(place, kept, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("assets", "*.sock", "pets"))
        print(f"the home is kept at {kept}", file=sys.stderr)

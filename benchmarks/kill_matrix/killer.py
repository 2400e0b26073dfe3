"""The service as a process, one life after another, each ended by SIGKILL."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from runner.settings import Settings, environment_of

ROOT = Path(__file__).resolve().parents[2]
#: Where tests/conformance/dying_service.py can be told to die.
POINTS = (
    "admitted",
    "stage",
    "pull",
    "create",
    "created",
    "start",
    "started",
    "follow",
    "collect",
    "finish",
    "ended",
    "removed",
    "retried",
)
_POINT_PATIENCE_S = 4.0
_TRIES = 3


@dataclass(frozen=True)
class Plan:
    """How a life ends: at a point, the ``number``-th time it is reached, or ``after_s`` seconds after it was ready (``early``: after the start)."""

    point: str = ""
    number: int = 1
    after_s: float = 0.0
    early: bool = False
    tries: int = 0

    @property
    def kind(self) -> str:
        return f"at {self.point}" if self.point else "while it starts" if self.early else "at a random moment"


def plan_lives(rng: random.Random, kills: int) -> deque[Plan]:
    """Half of the kills at the points, each as often as the others; of the rest one in five while the service still starts. In random order."""
    points = rng.sample(POINTS, len(POINTS))
    at_points = [Plan(point, _number(rng, point)) for point in islice(cycle(points), kills // 2)]
    early = [Plan(after_s=rng.uniform(0.05, 2.5), early=True) for _ in range((kills - len(at_points)) // 5)]
    rest = [Plan(after_s=rng.choice((0.2, 1.0, 2.5)) * rng.random()) for _ in range(kills - len(at_points) - len(early))]
    plans = at_points + early + rest
    rng.shuffle(plans)
    return deque(plans)


def _number(rng: random.Random, point: str) -> int:
    return 1 if point == "retried" else rng.choice((1, 1, 2, 3))


class Killer:
    """Makes lives. ``kills`` counts by kind; ``problems`` are services that ended without being killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.kills: Counter[str] = Counter()
        self.problems: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def live(self, plan: Plan, meanwhile: Callable[[], None]) -> bool:
        """One life. False when its point was not reached: then it was killed as at a random moment, which counts as that."""
        process = self._start(f"{plan.point}:{plan.number}" if plan.point else "")
        deadline = time.monotonic() + plan.after_s if plan.early else None
        while process.poll() is None and (deadline is None or time.monotonic() < deadline):
            meanwhile()
            if deadline is None and self._is_ready(process):
                deadline = time.monotonic() + (_POINT_PATIENCE_S if plan.point else plan.after_s)
            time.sleep(0.02)
        reached = process.poll() is not None
        self._end(process, reached)
        self.kills[plan.kind if reached or not plan.point else Plan().kind] += 1
        return reached or not plan.point

    def last_life(self, meanwhile: Callable[[], bool], patience_s: float) -> None:
        """Until ``meanwhile`` says that all is done; ended by SIGTERM, as an operator would."""
        process, end = self._start(""), time.monotonic() + patience_s
        while not meanwhile() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.1)
        process.terminate()
        code = process.wait()
        self._close(process)
        if code != 0:
            self.problems.append(f"the last service ended with {code}")

    def kill_leftover(self) -> None:
        """After a failure of the harness."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self._close(self._process)

    def _start(self, die_at: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.conformance.dying_service", die_at]
        environment = {**os.environ, **environment_of(self._settings)}
        with (self._settings.home.parent / "serve.log").open("ab") as log:  # beside the home: its disk is filled
            log.write(f"---- {time.time():.3f} a service that dies {die_at or 'when it is killed'}\n".encode())
            log.flush()
            self._process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        return self._process

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        return process.stdout is not None and bool(select.select([process.stdout], [], [], 0)[0])

    def _end(self, process: subprocess.Popen[bytes], ended_itself: bool) -> None:
        process.kill()
        code = process.wait()
        self._close(process)
        if code != -signal.SIGKILL:
            self.problems.append(f"the service ended by itself with {code} (dead before it was killed: {ended_itself})")

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            process.stdout.close()


def run_lives(killer: Killer, plans: deque[Plan], meanwhile: Callable[[], None]) -> Iterable[Plan]:
    """Live all plans; a point that was not reached is tried again later. Yields each plan before it is lived."""
    while plans:
        plan = plans.popleft()
        yield plan
        if not killer.live(plan, meanwhile) and plan.tries + 1 < _TRIES:
            plans.append(Plan(plan.point, 1, tries=plan.tries + 1))

"""The home that is tried, and the crowd of jobs in it: always as many unfinished ones as wanted, some cancelled on the way."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from benchmarks.kill_matrix.load import Load, draw
from contracts.errors import UnavailableError
from contracts.job import JobSpec, JobState
from registry import jobs, leases
from runner.service import Runner
from tests.conformance.main_job import PROBE, voc_folder

#: A door that cannot be used at the moment: the request is repeated with its key.
_NOT_NOW = (UnavailableError, OSError, OperationalError)


@dataclass(frozen=True)
class Member:
    """A submitted job. ``cancel_at`` is a moment of ``time.monotonic``."""

    load: Load
    job_id: str
    cancel_at: float | None = None


class Crowd:
    """Submits, cancels and counts, as the commands of users would; it drives nothing."""

    def __init__(self, runner: Runner, rng: random.Random, size: int, gpu_image: str) -> None:
        self.runner = runner
        self.members: list[Member] = []
        self.failures: list[str] = []
        with runner._installation.database.reading() as session:
            self.before = frozenset(job.id for job in jobs.list_jobs(session))
        self._rng = rng
        self._size = size
        self._gpu_image = gpu_image
        self._pending: tuple[str, Load] | None = None
        self._cancelled: set[str] = set()

    def tend(self) -> None:
        """One look: cancel what is due, submit what is missing. What cannot be done now is done at the next look."""
        try:
            self._cancel_due()
            for _ in range(min(4, self._size - self.count_unfinished())):
                self._submit()
        except _NOT_NOW as problem:
            self.failures.append(f"{type(problem).__name__}: {problem}")
            time.sleep(0.2)

    def count_unfinished(self) -> int:
        with self.runner._installation.database.reading() as session:
            return jobs.count_jobs(session, jobs.Filter(states=(JobState.QUEUED, JobState.RUNNING)))

    def finish(self) -> bool:
        """For the end: nothing new. True when all have ended and nothing is left to clean up."""
        self._cancel_due()
        with self.runner._installation.database.reading() as session:
            return not (self.count_unfinished() or jobs.list_unclean(session) or leases.list_open(session))

    def _submit(self) -> None:
        """With a key, so that a request whose answer was lost makes no second job."""
        key, load = self._pending = self._pending or (f"kill-matrix-{len(self.members)}", draw(self._rng, self._gpu_image))
        job = self.runner.submit(JobSpec.model_validate(load.spec), idempotency_key=key)
        cancel_at = time.monotonic() + self._rng.uniform(0.0, 6.0) if load.cancelled else None
        self.members.append(Member(load, job["id"], cancel_at))
        self._pending = None

    def _cancel_due(self) -> None:
        for member in self.members:
            if member.cancel_at and member.job_id not in self._cancelled and time.monotonic() >= member.cancel_at:
                self.runner.cancel_job(member.job_id, wait=False)
                self._cancelled.add(member.job_id)


def furnish(runner: Runner, folder: Path) -> None:
    """What the loads need: a data set, the image, a model."""
    runner.import_dataset("pets", voc_folder(folder / "pets", {"train": 6, "val": 3, "test": 4}))
    runner.build_image(PROBE, name="probe")
    runner.link_images("probe", "probe")
    job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="first"))
    *_, ended = runner.watch(job["id"])
    if ended["state"] != "succeeded":
        raise RuntimeError(f"the model for mining and inference could not be trained: {ended['end_reason']}: {ended['evidence']}")

"""The Runner: the one owner of jobs and GPUs, and the only thing a door calls. Every answer is a JSON-ready dict.

What only some verbs need (Arrow, Pillow, the image builder) is imported by those verbs: a command that lists jobs does not wait for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from contracts.errors import InternalError, RequestError
from contracts.image import Kind
from contracts.job import JobSpec, JobState
from registry import jobs
from registry.jobs import JobRecord
from runner.analysis_verbs import AnalysisVerbs
from runner.connection_verbs import ConnectionVerbs
from runner.dataset_verbs import DatasetVerbs
from runner.drivers import Driver, Drivers
from runner.evaluation_verbs import EvaluationVerbs
from runner.export import ExportVerbs
from runner.gpu_verbs import GpuVerbs
from runner.image_verbs import ImageVerbs
from runner.installation import Installation
from runner.job_verbs import JobVerbs
from runner.model_verbs import ModelVerbs
from runner.reconcile import Reconciler
from runner.scheduler import Scheduler
from runner.settings import Settings, environment_of
from runner.share_verbs import ShareVerbs
from runner.usage import UsageLog
from runner.views import job_view, queue_view

Member = TypeVar("Member", bound=Enum)
ENDED = tuple(str(state) for state in JobState if state.ended)
#: How often a watcher looks at a job that another process may change without a word.
_LOOK_EVERY_S = 1.0
#: How long a process that is to drive a job may take to start.
_START_S = 10.0


class Runner(
    ImageVerbs, DatasetVerbs, ExportVerbs, AnalysisVerbs, ModelVerbs, JobVerbs, EvaluationVerbs, ConnectionVerbs, GpuVerbs, ShareVerbs
):
    """One installation, used by one process; several processes may use the same home at once.

    In ``sluice serve`` the service drives the jobs (``serving``); in any other process, whoever watches a job drives it when nobody else does.
    """

    def __init__(self, installation: Installation, *, scheduler: Scheduler | None = None, drivers: Drivers | None = None) -> None:
        self._installation = installation
        self._serving = drivers is not None
        self._scheduler = scheduler or Scheduler(installation)
        self._drivers = drivers or Drivers(installation, self._scheduler)
        #: What the service does when a job was queued, or asked to end.
        self.on_submit: Callable[[JobRecord], None] = _nothing
        self.on_cancel: Callable[[JobRecord], None] = _nothing

    @classmethod
    def open(cls, settings: Settings) -> Runner:
        """Makes the home and brings the database up to date; engine and GPUs are contacted when first needed."""
        return cls(Installation(settings))

    def close(self) -> None:
        """Lets go of the jobs that threads of this process drive; their containers go on."""
        self._drivers.let_go(timeout_s=0.0)
        self._installation.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ----------------------------------------------------------------------------------------------------- submit and drive

    def parse_parameters(self, spec: JobSpec, texts: Sequence[str]) -> dict[str, Any]:
        """``key=text`` pairs, typed by the template of the image that the request means."""
        from runner import submission

        return submission.parse_parameters(self._installation, spec, texts)

    def submit(self, spec: JobSpec, *, user: str | None = None, idempotency_key: str | None = None) -> dict[str, Any]:
        """Checks everything, then queues; nothing is left behind when it refuses.

        Repeated with the same key and spec it gives the job of the first time; with another spec it raises ``ConflictError``.
        """
        return self._submit(spec, user=user, idempotency_key=idempotency_key)

    def rerun_job(self, reference: str, *, latest: bool = False, current_image: bool = False, user: str | None = None) -> dict[str, Any]:
        """A new job with exactly what this one ran with: image digest, data, model stage, parameters, seed; the next version of its name.

        ``latest`` asks for the same again instead, with whatever the names mean now. ``current_image`` takes what is registered under the
        image's name now and keeps the rest.
        """
        from runner.rerun import rerun

        job = self._find_job(reference)
        if latest:
            return self._submit(JobSpec.model_validate(job.spec), user=user, rerun_of=job.id)
        again = rerun(self._installation, job, user=user or os_user(), current_image=current_image)
        self.on_submit(again)
        return job_view(again, attended=False)

    def _submit(self, spec: JobSpec, *, user: str | None, **options: Any) -> dict[str, Any]:
        from runner import submission

        job = submission.submit(self._installation, spec, user=user or os_user(), **options)
        self.on_submit(job)
        return job_view(job, attended=False)  # its place in the queue is the next look's to tell

    def run(self, job_id: str, *, wait_for_lock_s: float = 1.0) -> None:
        """Drives the job to its end in this process; returns at once when another process drives it."""
        self.sweep()
        driver = self._drivers.ensure(self._find_job(job_id).id, wait_for_lock_s)
        driver.join()
        if driver.error:
            raise driver.error

    def attend(self, job_id: str) -> None:
        """Hands the job to a process of its own that outlives this one; a driver in this process lets go of it. A service drives it anyway."""
        job = self._find_job(job_id)
        if self._serving:
            return
        run_dir = self._installation.run_dir(job.id)
        run_dir.create()
        # By way of a shell that ends at once: the process becomes nobody's child here, so it leaves no zombie.
        command = ["sh", "-c", '"$@" &', "sh", sys.executable, "-m", "runner.attend", job.id]
        with (run_dir.path / "runner.log").open("ab") as output:
            environment = {**os.environ, **environment_of(self._installation.settings)}
            pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            subprocess.run(command, **pipes, start_new_session=True, env=environment, cwd=str(self._installation.home), check=True)
        self._drivers.let_go([job.id], timeout_s=0.0)
        self._wait_until_driven(job.id)

    def _wait_until_driven(self, job_id: str) -> None:
        """So that whoever looks next does not find a job that nobody drives; a process that cannot start must not keep anybody."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end and not (self._installation.run_dir(job_id).is_driven() or self._find_job(job_id).state.ended):
            time.sleep(0.05)

    def watch(self, reference: str) -> Iterator[dict[str, Any]]:
        """The job each time it changes, until it has ended. When no process drives it, a thread of this one does."""
        job_id = self._find_job(reference).id
        shown: dict[str, Any] = {}
        driver: Driver | None = None
        while True:
            news = self._installation.bell.count(job_id)
            job = self.get_job(job_id)
            if job["state"] in ENDED:
                self._join(driver)
            if job != shown:
                yield job
            if job["state"] in ENDED:
                return
            shown = job
            if not self._serving and not job["attended"]:
                driver = self._drive(job_id, driver)
            self._installation.bell.wait(job_id, news, _LOOK_EVERY_S if self._serving else self._installation.settings.poll_interval_s)

    def _join(self, driver: Driver | None) -> None:
        """It still removes the container and ends the lease; a process that ends must not be faster."""
        if driver is not None:
            driver.join()

    def _drive(self, job_id: str, before: Driver | None) -> Driver | None:
        """Starts a driver in this process. One that stopped before the job's end had a reason, which is raised here."""
        job = self._find_job(job_id)
        if (before is not None and before.is_alive()) or job.state.ended:
            return before
        if before is not None and before.error is not None:
            raise before.error
        if before is not None and before.orders.let_go.is_set():
            raise InternalError(f"the job {job.id} was left at step {job.step}", hint=f"sluice job wait {job.id}")
        if before is None:
            self.sweep()
        return self._drivers.ensure(job.id)

    def cancel_job(self, reference: str, *, wait: bool = True) -> dict[str, Any]:
        """Asks the job to end and waits until it has, unless told not to: SIGTERM, grace, kill; stages of a training are kept."""
        job = self._find_job(reference)
        if job.state.ended:
            return self._view(job)
        with self._installation.database.writing() as session:
            job = jobs.update_job(session, job.id, cancel_requested_at=job.cancel_requested_at or datetime.now(timezone.utc))
        self._drivers.news(job.id)
        self.on_cancel(job)
        if not wait:
            return self._view(job)
        *_, last = self.watch(job.id)
        return last

    # ---------------------------------------------------------------------------------------------------------------- look

    def list_jobs(
        self,
        *,
        states: Sequence[str] = (),
        kinds: Sequence[str] = (),
        users: Sequence[str] = (),
        projects: Sequence[str] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Newest first. ``total`` counts all that match, not only this page."""
        chosen = jobs.Filter(_members(JobState, states), _members(Kind, kinds), tuple(users), tuple(projects))
        with self._installation.database.reading() as session:
            records = jobs.list_jobs(session, chosen, limit=limit, offset=offset)
            total = jobs.count_jobs(session, chosen)
        return {"jobs": self._views(records), "total": total}

    def get_job(self, reference: str) -> dict[str, Any]:
        return self._view(self._find_job(reference))

    def read_job_log(self, reference: str, offset: int = 0, max_bytes: int = 1 << 20) -> tuple[bytes, int, bool]:
        """Output from a byte offset: the bytes, the next offset, and whether the job has ended (so that no more will come)."""
        job = self._find_job(reference)
        file = self._installation.run_dir(job.id).log_file
        if not file.exists():
            return b"", offset, job.state.ended
        with file.open("rb") as output:
            output.seek(offset)
            data = output.read(max_bytes)
        return data, offset + len(data), job.state.ended and not data

    def contact_sheet(self, reference: str, file: Path, *, limit: int = 24, columns: int = 6) -> dict[str, Any]:
        """A PNG of the pictures of a mining or inference job with the predicted boxes drawn."""
        from runner import contact_sheet

        return contact_sheet.write(self._installation, self._find_job(reference), file, limit=limit, columns=columns)

    def mining_ranking(self, reference: str, limit: int | None = None) -> list[dict[str, Any]]:
        """``rank, asset, name, score`` of the selected pictures, most worth labelling first; ``coefficient``, ``hard``, ``reasons`` (numbers
        of ``contracts.reasons``) and ``texts`` say why, null and empty where the image said nothing.
        """
        import pyarrow.parquet as pq

        from contracts.results import MinedPicture
        from runner.mined import explained, read_mined

        result = self._find_job(reference).result or {}
        result = result.get("mining", result)
        if "ranking_file" not in result:
            raise RequestError(f"the job {reference} has no ranking", hint="Only a mining job that succeeded has one.")
        rows: list[dict[str, Any]] = pq.read_table(result["ranking_file"]).slice(0, limit).to_pylist()
        file = result.get("reasons_file")
        known = read_mined(Path(file), [row["asset"] for row in rows]) if file else {}
        return [explained(row, known.get(row["asset"], MinedPicture())) for row in rows]

    # ------------------------------------------------------------------------------------------------------- the machine

    def sweep(self) -> None:
        """Finishes what a runner that was killed left: containers and leases of ended jobs and former attempts. May be repeated."""
        Reconciler(self._installation, self._drivers).clean()

    def doctor(self) -> list[dict[str, Any]]:
        """What works on this machine and what to do about the rest."""
        from runner import doctor

        return doctor.examine(self._installation)

    def gc(self, *, dry_run: bool = True, older_than_days: float = 30.0, what: Sequence[str] = ()) -> dict[str, Any]:
        """What nothing needs any more (run directories, layers of removed images, unreferenced assets), freed unless ``dry_run``."""
        from runner import gc

        return gc.collect(self._installation, dry_run=dry_run, older_than_days=older_than_days, what=what)

    def _find_job(self, reference: str) -> JobRecord:
        """A job that is driven here is known without a look at the database."""
        if live := self._installation.live.get(reference):
            return live
        with self._installation.database.reading() as session:
            return jobs.get_job(session, reference)

    def _view(self, job: JobRecord) -> dict[str, Any]:
        return self._views([job])[0]

    def _views(self, records: Sequence[JobRecord]) -> list[dict[str, Any]]:
        waiting = [job.id for job in records if job.admitted_at is None and not job.state.ended]
        places = self._scheduler.explain(waiting) if waiting else {}
        return [
            job_view(
                job,
                attended=self._is_attended(job),
                attempts=self._attempts(job),
                queue=queue_view(places.get(job.id)),
                usage=UsageLog(self._installation.run_dir(job.id)).summary() or None if job.state.ended else None,
            )
            for job in records
        ]

    def _is_attended(self, job: JobRecord) -> bool:
        if job.state.ended:
            return False
        return self._drivers.find(job.id) is not None or self._installation.run_dir(job.id).is_driven()

    def _attempts(self, job: JobRecord) -> Sequence[jobs.AttemptRecord]:
        if job.attempt == 1:
            return ()
        with self._installation.database.reading() as session:
            return jobs.list_attempts(session, job.id)


def _members(kind: type[Member], words: Sequence[str]) -> tuple[Member, ...]:
    unknown = [word for word in words if word not in {member.value for member in kind}]
    if unknown:
        known = ", ".join(member.value for member in kind)
        raise RequestError(f"there is no {kind.__name__.lower().removeprefix('job')} {unknown[0]!r}", hint=f"Known: {known}.")
    return tuple(kind(word) for word in words)


def _nothing(_: JobRecord) -> None:
    pass


def os_user() -> str:
    """Who runs this process, as people know them."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())

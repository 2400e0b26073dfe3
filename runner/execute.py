"""One attempt of one job, start to end.

The steps are stage, pull, create, start, follow, collect, finish. Each is journalled before it happens, named deterministically and safe to
repeat, so that a runner that was killed and restarted carries the job on from its journalled step. Only the process that holds the lock of
the run directory drives a job.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from contracts.dataset import JobInputs, ModelInput, Sample
from contracts.errors import EngineError, EngineGoneError, GpuSourceError, ImageMissingError, NoGpuError, ResultError, UnavailableError
from contracts.image import Kind, ObjectType, Permissions
from contracts.job import EndReason, Evidence, JobSpec, JobWarning, Step, container_name
from contracts.results import Progress
from contracts.seams import ContainerSpec, ContainerStatus
from registry import jobs, models
from registry.jobs import JobRecord
from runner import ending, job_data
from runner.installation import Installation
from runner.logs import LogCopy
from runner.models import model_input
from runner.results import Collected, collect, store
from runner.views import job_view

log = logging.getLogger(__name__)
_STEPS = list(Step)


class LetGo(Exception):  # noqa: N818 - not an error
    """Another process is to carry the job on; not an end."""


@dataclass(frozen=True)
class Outcome:
    """How the attempt ended and what it left."""

    reason: EndReason
    evidence: Evidence = Evidence()
    collected: Collected = Collected()
    warnings: tuple[JobWarning, ...] = ()
    samples: Sequence[Sample] = field(default_factory=tuple)


class Cancelled(Exception):  # noqa: N818 - not an error
    """The cancel was seen before the container started."""


class Attempt:
    """Drives one job. ``let_go`` ends this process's part at the next look, leaving the container alone."""

    def __init__(self, installation: Installation, job: JobRecord, let_go: threading.Event) -> None:
        self._installation = installation
        self._settings = installation.settings
        self._engine = installation.engine_named(job.engine)
        self._dialect = installation.dialect(job.dialect)
        self._run_dir = installation.run_dir(job.id)
        self._job = job
        self._spec = JobSpec.model_validate(job.spec)
        self._let_go = let_go
        self._warnings: list[JobWarning] = []
        self._shown_at = 0.0

    def run(self) -> None:
        """The main path of a job."""
        try:
            self._lease()
            self._at(Step.STAGE, self._stage)
            self._at(Step.PULL, self._pull)
            self._at(Step.CREATE, self._create)
            status = self._start_and_follow()
            outcome = self._collect(status)
        except LetGo:
            return
        except Cancelled:
            outcome = Outcome(EndReason.CANCELLED, Evidence(message="the job was cancelled before it started"))
        except Exception as error:  # every failure gets a name from the closed list
            outcome = self._failed(error)
        self._finish(outcome)

    # ---------------------------------------------------------------------------------------------------------- the steps

    def _lease(self) -> None:
        """Waits for the GPUs the job needs; until then the job is queued and says whom it waits for."""
        deadline = time.monotonic() + self._settings.gpu_wait_s
        while self._spec.gpu_count:
            try:
                uuids = self._installation.gpus.lease(self._job.id, self._job.attempt, self._spec.gpu_count)
                self._update(gpu_uuids=list(uuids))
                return
            except (NoGpuError, GpuSourceError, EngineGoneError) as busy:
                if time.monotonic() > deadline:
                    raise
                self._update(progress={"fraction": 0.0, "state": "pending", "message": f"waiting: {busy.message}"})
                self._pause(2.0)

    def _stage(self) -> None:
        self._run_dir.create()
        self._warn(self._dialect.stage(self._inputs(), self._run_dir.in_dir, self._run_dir.out_dir))

    def _pull(self) -> None:
        """The image by its digest; its name is only asked when the engine has lost it."""
        if self._has_image():
            return
        if "pull" not in self._engine.capabilities:
            raise ImageMissingError(f"the {self._engine.name} engine no longer has {self._job.image_name} as it was registered")
        facts = self._engine.pull_image(self._job.image_reference, self._show_pull)
        if facts.digest != self._job.image_digest:
            raise ImageMissingError(
                f"{self._job.image_reference} is now {facts.digest[:19]}, the job needs {self._job.image_digest[:19]}, which the engine lost",
                hint=f"Register what is there now: sluice image add {self._job.image_reference} --name {self._job.image_name}",
            )

    def _show_pull(self, line: str) -> None:
        if time.monotonic() - self._shown_at >= 1.0:
            self._shown_at = time.monotonic()
            self._update(progress={"fraction": 0.0, "state": "pending", "message": f"pulling: {line}"})

    def _create(self) -> None:
        self._run_dir.log_file.touch()
        self._update(container_id=self._engine.create(self._container_spec()))

    def _start_and_follow(self) -> ContainerStatus:
        """To the end of the container, over an engine that is away for a while: that it is silent does not mean that the job is gone."""
        silent_since: float | None = None
        while True:
            try:
                return self._follow_once()
            except EngineGoneError:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > self._settings.engine_silence_s:
                    raise
                self._pause(1.0)
            except EngineError:  # a container that somebody removes can be missed by any question about it
                status = self._engine.status(self._job.container_id or "")
                if status.state != "gone":
                    raise
                return status

    def _follow_once(self) -> ContainerStatus:
        container_id = self._job.container_id or ""
        status_now = self._engine.status(container_id)
        if status_now.state == "gone":
            return status_now
        output = LogCopy(self._engine, container_id, self._run_dir.log_file)
        with self._engine.watch(container_id) as watch:
            self._at(Step.START, lambda: self._engine.start(container_id))
            self._journal(Step.FOLLOW)
            while (status := watch.wait(self._settings.poll_interval_s)) is None:
                output.copy()
                self._observe()
                self._stop_if_due(container_id)
        output.drain()
        self._observe_progress()
        return status

    def _collect(self, status: ContainerStatus) -> Outcome:
        """Reads the results. A training that failed keeps the stages it left; other kinds count only when the image succeeded."""
        self._journal(Step.COLLECT)
        self._job = self._reload()
        reason = ending.reason_of_exit(status, self._job.cancel_requested_at, self._spec.timeout_s)
        evidence = self._evidence(reason, status)
        if reason is not EndReason.SUCCEEDED and self._spec.kind is not Kind.TRAINING:
            return Outcome(reason, evidence)
        samples = self._candidates()
        try:
            collected = collect(self._dialect, self._spec.kind, self._run_dir.out_dir, samples, self._job.plan)
        except ResultError as error:
            return self._without_result(reason, evidence, error)
        return Outcome(reason, evidence, collected, (*self._exit_warnings(reason, status), *collected.warnings), samples)

    def _finish(self, outcome: Outcome) -> None:
        """One transaction makes the results visible and ends the job; what can be done again comes after.

        A full disk or a database that is away leaves the job at this step, to be carried on; results that cannot be stored end it.
        """
        self._journal(Step.FINISH)
        try:
            self._end(outcome)
        except (UnavailableError, OSError):
            raise
        except Exception as error:
            self._end(self._failed(error))
        clean_up(self._installation, self._reload())

    def _end(self, outcome: Outcome) -> None:
        with self._installation.database.writing() as session:
            result = store(session, self._installation, self._job, outcome.collected, outcome.samples)
            jobs.finish_job(
                session,
                self._job.id,
                outcome.reason,
                exit_code=outcome.evidence.exit_code,
                evidence=outcome.evidence.to_dict(),
                warnings=[*self._job.warnings, *(warning.to_dict() for warning in (*self._warnings, *outcome.warnings))],
                result=result,
            )

    # --------------------------------------------------------------------------------------------------------- what they need

    def _inputs(self) -> JobInputs:
        plan = self._job.plan
        train, val, candidates = self._samples()
        return JobInputs(
            task_id=self._job.id,
            kind=self._spec.kind,
            object_type=ObjectType(plan["object_type"]),
            class_names=tuple(plan["class_names"]),
            parameters=plan["parameters"],
            gpu_count=self._spec.gpu_count,
            train=train,
            val=val,
            candidates=candidates,
            model=self._model(),
            paths=self._engine.container_paths(self._run_dir.in_dir, self._run_dir.out_dir),
        )

    def _samples(self) -> tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]]:
        plan = self._job.plan
        if self._spec.kind is not Kind.TRAINING:
            return (), (), self._candidates()
        with self._installation.database.reading() as session:
            train = job_data.pin(session, plan["train"])
            val = job_data.pin(session, plan["val"]) if plan["val"] else None
        return (*job_data.read_training(self._installation, train, val, plan["val_fraction"], self._spec.seed), ())

    def _candidates(self) -> Sequence[Sample]:
        if self._spec.kind is Kind.TRAINING:
            return ()
        with self._installation.database.reading() as session:
            data = job_data.pin(session, self._job.plan["data"])
        return job_data.read(self._installation, data)

    def _model(self) -> ModelInput | None:
        if not self._job.plan["model"]:
            return None
        with self._installation.database.reading() as session:
            model = models.get_model(session, self._job.plan["model"])
        return model_input(self._installation.folder(model.folder), model, self._job.plan["stage"])

    def _has_image(self) -> bool:
        for reference in (self._job.image_digest, self._job.image_reference):
            facts = self._engine.find_image(reference)
            if facts and facts.digest == self._job.image_digest:
                return True
        return False

    def _container_spec(self) -> ContainerSpec:
        plan = self._job.plan
        return ContainerSpec(
            name=container_name(self._job.id, self._job.attempt),
            image=self._job.image_digest,
            reference=self._job.image_reference,
            in_dir=self._run_dir.in_dir,
            out_dir=self._run_dir.out_dir,
            labels=labels_of(self._installation, self._job),
            permissions=Permissions(**plan["permissions"]),
            read_only_files={self._dialect.output_log: self._run_dir.log_file} if self._dialect.output_log else {},
            gpu_uuids=tuple(self._job.gpu_uuids),
            shm_bytes=plan["shm_bytes"],
            memory_bytes=plan["memory_bytes"],
            cpu_count=self._spec.cpu_count,
            pids_limit=self._settings.pids_limit,
            stop_grace_s=self._settings.stop_grace_s,
        )

    # ---------------------------------------------------------------------------------------------------------- while it runs

    def _observe(self) -> None:
        """One look: progress, requests to cancel, requests to let go."""
        self._observe_progress()
        if self._let_go.is_set():
            raise LetGo
        self._job = self._reload()

    def _observe_progress(self) -> None:
        progress = self._dialect.read_progress(self._run_dir.out_dir)
        if progress is None:
            return
        self._warn(warning for warning in progress.warnings)
        shown = {"fraction": progress.fraction, "state": progress.state, "message": progress.message}
        if shown != self._job.progress:
            self._update(progress=shown)

    def _stop_if_due(self, container_id: str) -> None:
        if self._job.cancel_requested_at or self._is_late(container_id):
            self._engine.stop(container_id, self._settings.stop_grace_s)

    def _is_late(self, container_id: str) -> bool:
        if not self._spec.timeout_s:
            return False
        started_at = self._engine.status(container_id).started_at
        return started_at is not None and time.time() - started_at >= self._spec.timeout_s

    # ------------------------------------------------------------------------------------------------------------ how it ends

    def _failed(self, error: Exception) -> Outcome:
        reason = ending.reason_of_error(error)
        if reason is EndReason.INTERNAL_ERROR:
            log.exception("job %s: defect at step %s", self._job.id, self._job.step)
        self._stop_leftover()
        return Outcome(reason, ending.evidence_of_error(error))

    def _stop_leftover(self) -> None:
        """A job that ends here must not leave its container running; an engine that is away is swept later."""
        try:
            self._engine.stop(container_name(self._job.id, self._job.attempt), self._settings.stop_grace_s)
        except EngineError:
            log.warning("job %s: its container could not be stopped now", self._job.id)

    def _without_result(self, reason: EndReason, evidence: Evidence, error: ResultError) -> Outcome:
        if reason is not EndReason.SUCCEEDED:
            return Outcome(reason, evidence)
        found = ending.evidence_of_error(error)
        reason = ending.reason_of_error(error)
        return Outcome(reason, replace(evidence, message=found.message, hint=found.hint, fields=found.fields))

    def _evidence(self, reason: EndReason, status: ContainerStatus) -> Evidence:
        tail = self._run_dir.log_tail(self._settings.log_tail_lines)
        progress = self._dialect.read_progress(self._run_dir.out_dir)
        return ending.evidence_of_exit(reason, status, progress, tail, Permissions(**self._job.plan["permissions"]))

    def _exit_warnings(self, reason: EndReason, status: ContainerStatus) -> list[JobWarning]:
        """Contradictions that did not decide the end."""
        found = []
        progress: Progress | None = self._dialect.read_progress(self._run_dir.out_dir)
        if reason is EndReason.SUCCEEDED and status.out_of_memory:
            found.append(
                JobWarning("out_of_memory_inside", "a process in the container was killed for want of memory, yet the image exited 0")
            )
        if reason is EndReason.SUCCEEDED and progress and progress.state == "error":
            found.append(JobWarning("state_contradicts_exit", "the image reported an error, yet exited 0; the exit counts", "monitor.txt"))
        if reason is not EndReason.SUCCEEDED:
            found.append(JobWarning("salvaged", f"the training did not succeed ({reason}); the stages it left are kept as a model"))
        return found

    # -------------------------------------------------------------------------------------------------------------- the journal

    def _at(self, step: Step, action: Callable[[], None]) -> None:
        """Journals the step, then does it; left out when the journal is already past it."""
        if _STEPS.index(self._job.step) > _STEPS.index(step):
            return
        self._check_requests()
        self._journal(step)
        action()

    def _journal(self, step: Step) -> None:
        if self._job.step is step:
            return
        times = {"started_at": datetime.now(timezone.utc)} if self._job.started_at is None else {}
        with self._installation.database.writing() as session:
            jobs.add_event(session, self._job.id, step, {"attempt": self._job.attempt})
            self._job = jobs.update_job(session, self._job.id, step=step, **times)

    def _check_requests(self) -> None:
        self._job = self._reload()
        if self._let_go.is_set():
            raise LetGo
        if self._job.cancel_requested_at:
            raise Cancelled

    def _pause(self, seconds: float) -> None:
        self._let_go.wait(seconds)
        self._check_requests()

    def _update(self, **columns: Any) -> None:
        with self._installation.database.writing() as session:
            self._job = jobs.update_job(session, self._job.id, **columns)

    def _reload(self) -> JobRecord:
        with self._installation.database.reading() as session:
            return jobs.get_job(session, self._job.id)

    def _warn(self, warnings: Any) -> None:
        """Each warning once, however often the file it is about is read."""
        self._warnings += [warning for warning in warnings if warning not in self._warnings]


def labels_of(installation: Installation, job: JobRecord) -> dict[str, str]:
    """What identifies a job's container after a restart."""
    return {"sluice.installation": installation.id, "sluice.job": job.id, "sluice.attempt": str(job.attempt)}


def clean_up(installation: Installation, job: JobRecord) -> None:
    """After the end is durable: the record, then the container, then the lease. May be repeated; nothing that is needed is lost before.

    When the engine does not answer, container and lease stay: a lease ends only when the end was seen. ``Runner.sweep`` comes back to it.
    """
    run_dir = installation.run_dir(job.id)
    run_dir.write_job(job_view(job, attended=False))
    try:
        # By name: a runner may have been killed after it created the container and before it could note the id.
        engine, name = installation.engine_named(job.engine), container_name(job.id, job.attempt)
        engine.stop(name, installation.settings.stop_grace_s)
        engine.remove(name)
    except EngineGoneError:
        log.warning("job %s: the engine is away; its container stays until the next sweep", job.id)
        return
    installation.gpus.release(job.id, job.attempt)
    if job.end_reason is EndReason.SUCCEEDED:  # a failed one keeps what it was given, for whoever looks into it
        run_dir.drop_inputs()
    with installation.database.writing() as session:
        jobs.update_job(session, job.id, cleaned_at=datetime.now(timezone.utc))

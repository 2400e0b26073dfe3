"""One attempt of one job, start to end.

The steps are stage, pull, create, start, follow, collect, finish. Each is journalled before it happens, named deterministically and safe to
repeat, so that a runner that was killed and restarted carries the job on from its journalled step. Only the process that holds the lock of
the run directory drives a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from contracts.dataset import Annotation, ContainerPaths, JobInputs, ModelInput, Sample
from contracts.errors import EngineError, EngineGoneError, ImageMissingError, ResultError, UnavailableError
from contracts.image import Kind, ObjectType, Permissions
from contracts.job import EndReason, Evidence, JobSpec, JobWarning, Step, container_name
from contracts.results import Progress
from contracts.seams import ContainerSpec, ContainerStatus, PullProgress
from registry import jobs, models
from registry.jobs import JobRecord
from runner import ending, job_data
from runner.follow import Follower
from runner.installation import Installation
from runner.journal import Cancelled, Journal, LetGo, Orders
from runner.logs import begin_anew
from runner.mining_inputs import given_predictions, given_training
from runner.models import model_input
from runner.results import Collected, collect, prepare, store
from runner.scheduler import Scheduler
from runner.stored_samples import StoredSamples
from runner.usage import UsageLog
from runner.views import job_view

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How the attempt ended and what it left. ``told``: by its container, which can tell it again as long as it is there."""

    reason: EndReason
    evidence: Evidence = Evidence()
    collected: Collected = Collected()
    warnings: tuple[JobWarning, ...] = ()
    samples: StoredSamples | None = None
    told: bool = False


class Attempt:
    """Drives the present attempt of one job. ``orders.let_go`` ends this process's part at the next look, leaving the container alone.

    ``scheduler`` is asked to work while the job waits, for a process that has no service to do so.
    """

    def __init__(self, installation: Installation, job: JobRecord, orders: Orders, scheduler: Scheduler | None = None) -> None:
        self._installation = installation
        self._settings = installation.settings
        self._engine = installation.engine_named(job.engine)
        self._dialect = installation.dialect(job.dialect)
        self._run_dir = installation.run_dir(job.id)
        self._journal = Journal(installation, job, orders)
        self._spec = JobSpec.model_validate(job.spec)
        self._orders = orders
        self._scheduler = scheduler
        self._follower = Follower(installation, self._journal, orders, self._spec)
        self._shown_at = 0.0
        self._data: job_data.PinnedData | None = None

    @property
    def _job(self) -> JobRecord:
        return self._journal.job

    def run(self) -> bool:
        """The main path of a job; True when it is queued again as another attempt."""
        try:
            outcome = self._recorded_failure() or self._to_its_end()
        except LetGo:
            return False
        except Cancelled:
            outcome = Outcome(EndReason.CANCELLED, Evidence(message="the job was cancelled before it started"))
        except Exception as error:  # every failure gets a name from the closed list
            if self._may_pass(error):
                raise
            outcome = self._failed(error)
        return self._finish(outcome)

    def _may_pass(self, error: Exception) -> bool:
        """Whether the job is to be carried on when this is over: a database that is away, and a full disk while a container runs, are no end of it.

        What a container computes must not be lost for a line that could not be written.
        """
        if type(error) is UnavailableError:  # those of engine and GPUs are classes of their own
            return True
        return ending.is_full_disk(error) and self._job.step in (Step.START, Step.FOLLOW, Step.COLLECT)

    def _to_its_end(self) -> Outcome:
        self._await_admission()
        self._journal.at(Step.STAGE, self._stage)
        self._journal.at(Step.PULL, lambda: self._over_silence(self._pull))
        self._journal.at(Step.CREATE, lambda: self._over_silence(self._create))
        return replace(self._collect(self._follower.run()), told=True)

    # ---------------------------------------------------------------------------------------------------------- the steps

    def _await_admission(self) -> None:
        """Until the scheduler, wherever it runs, gave the job what it needs."""
        while self._job.admitted_at is None:
            if self._scheduler:
                self._scheduler.tick()
            seen = self._installation.bell.count(self._job.id)
            if self._journal.reload_admission().admitted_at:
                return
            self._journal.check_requests()
            self._installation.bell.wait(self._job.id, seen, self._settings.poll_interval_s)

    def _over_silence(self, action: Callable[[], None]) -> None:
        """The action again while the engine is away, as long as a start may take; watchers are told, a request to end is seen meanwhile."""
        silent_since: float | None = None
        while True:
            try:
                return action()
            except EngineGoneError as error:
                if silent_since is None:
                    silent_since = time.monotonic()
                    log.warning("job %s: the engine is away at step %s; waiting for it: %s", self._job.id, self._job.step, error.message)
                    self._show_waiting(f"waiting for the engine: {error.message}")
                if time.monotonic() - silent_since > self._settings.start_timeout_s:
                    raise
                self._journal.check_requests()
                self._journal.pause(1.0)

    def _stage(self) -> None:
        if self._run_dir.open_attempt(self._job.attempt):
            begin_anew(self._run_dir.log_file)
            self._run_dir.note_attempt(self._job.attempt)
        self._run_dir.create()
        inputs = self._inputs()
        with self._held(inputs):
            self._follower.warn(self._dialect.stage(inputs, self._run_dir.in_dir, self._run_dir.out_dir))

    def _held(self, inputs: JobInputs) -> AbstractContextManager[None]:
        """The job's pictures on this host. Where all lie in one folder there is nothing to fetch, and a million are not listed for it."""
        store = self._installation.store
        if store.folder_of_all():
            return nullcontext()
        return store.holding([sample.asset for samples in (inputs.train, inputs.val, inputs.candidates) for sample in samples])

    def _pull(self) -> None:
        """The image by its digest; its name is only asked when the engine has lost it."""
        if self._has_image():
            return
        if "pull" not in self._engine.capabilities:
            raise ImageMissingError(f"the {self._engine.name} engine no longer has {self._job.image_name} as it was registered")
        facts = self._engine.pull_image(self._job.image_reference, self._show_pull, self._settings.pull_timeout_s)
        if facts.digest != self._job.image_digest:
            raise ImageMissingError(
                f"{self._job.image_reference} is now {facts.digest[:19]}, the job needs {self._job.image_digest[:19]}, which the engine lost",
                hint=f"Register what is there now: sluice image add {self._job.image_reference} --name {self._job.image_name}",
            )

    def _show_pull(self, progress: PullProgress) -> None:
        if time.monotonic() - self._shown_at >= 1.0:
            self._shown_at = time.monotonic()
            self._show_waiting(f"pulling: {progress.message}")
            self._journal.check_requests()

    def _show_waiting(self, message: str) -> None:
        """Until the image reports progress of its own."""
        self._journal.update(progress={"fraction": 0.0, "state": "pending", "message": message})

    def _create(self) -> None:
        self._run_dir.log_file.touch()
        try:
            container_id = self._engine.create(self._container_spec())
        except ImageMissingError:
            if not self._installation.recent.get(self._image_key):
                raise
            self._installation.recent.put(self._image_key, False)  # it went since it was seen
            self._pull()
            container_id = self._engine.create(self._container_spec())
        self._journal.hold_back(container_id=container_id)

    def _collect(self, status: ContainerStatus) -> Outcome:
        """Reads the results. A training that failed keeps the stages it left; other kinds count only when the image succeeded."""
        self._journal.enter(Step.COLLECT)
        reason, evidence = self._follower.end_of(status, self._journal.reload())
        if reason is not EndReason.SUCCEEDED and (self._spec.kind is not Kind.TRAINING or self._retry_at(reason)):
            return Outcome(reason, evidence)
        samples = self._candidates()
        try:
            collected = collect(self._dialect, self._spec.kind, self._run_dir.out_dir, samples, self._job.plan)
        except ResultError as error:
            return self._without_result(reason, evidence, error)
        return Outcome(reason, evidence, collected, (*self._exit_warnings(reason, status), *collected.warnings), samples)

    def _finish(self, outcome: Outcome) -> bool:
        """One transaction makes the results visible and ends the job; what can be done again comes after.

        A full disk or a database that is away leaves the job at this step, to be carried on; results that cannot be stored for another reason end it.
        """
        failure = {} if outcome.reason is EndReason.SUCCEEDED else {"reason": str(outcome.reason), "evidence": outcome.evidence.to_dict()}
        self._journal.enter(Step.FINISH, **({} if outcome.told else failure))
        retry_at = self._retry_at(outcome.reason)
        try:
            if retry_at:
                self._retry(outcome, retry_at)
                return True
            ended = self._end(outcome)
        except (UnavailableError, OSError):
            raise
        except Exception as error:
            ended = self._end(self._failed(error))
        clean_up(self._installation, ended)
        return False

    def _end(self, outcome: Outcome) -> JobRecord:
        prepared = prepare(self._installation, self._job, outcome.collected, outcome.samples)
        with self._installation.database.writing() as session:
            result = store(session, self._installation, self._job, outcome.collected, outcome.samples, prepared)
            ended = jobs.finish_job(
                session,
                self._job.id,
                outcome.reason,
                exit_code=outcome.evidence.exit_code,
                evidence=outcome.evidence.to_dict(),
                warnings=[*self._job.warnings, *(warning.to_dict() for warning in (*self._follower.warnings, *outcome.warnings))],
                result=result,
            )
            self._journal.tell(session, str(ended.state), job_view(ended, attended=True))
        self._journal.show(ended)
        return ended

    # ------------------------------------------------------------------------------------------------------------- once more

    def _retry_at(self, reason: EndReason) -> datetime | None:
        """When the job is tried again after this end; None when it is not."""
        if self._job.cancel_requested_at or reason in (EndReason.SUCCEEDED, EndReason.CANCELLED):
            return None
        limit = self._settings.retry_limit if self._spec.retries is None else self._spec.retries
        # Cards that somebody took between lease and start are nobody's failure: the job queues again, however often.
        contended = reason is EndReason.NO_GPU
        if not contended and (self._job.attempt > limit or str(reason) not in self._settings.retry_reasons.split()):
            return None
        wait_s = self._settings.retry_backoff_s * 2 ** min(self._job.attempt - 1, 10)
        return datetime.now(timezone.utc) + timedelta(seconds=wait_s)

    def _retry(self, outcome: Outcome, not_before: datetime) -> None:
        """Queued again as the next attempt, on record; then what the former one held is given back."""
        former = self._job
        with self._installation.database.writing() as session:
            again = jobs.begin_retry(session, former.id, outcome.reason, outcome.evidence, not_before)
            ended = replace(former, end_reason=outcome.reason, evidence=outcome.evidence.to_dict())
            self._journal.tell(session, "retried", job_view(ended, attended=True))
        log.warning("job %s: attempt %d ended as %s and is tried again", former.id, former.attempt, outcome.reason)
        self._journal.show(again)
        try:
            remove_container(self._installation, former)
            if former.gpu_uuids:
                self._installation.gpus.release(former.id, former.attempt)
        except UnavailableError as away:  # the reconciler ends what carries the number of a former attempt
            log.warning("job %s: what attempt %d held stays for now: %s", former.id, former.attempt, away.message)

    def _recorded_failure(self) -> Outcome | None:
        """The end that a runner noted before it was killed: one that no container can tell, as that the engine was away at the start."""
        if self._job.step is not Step.FINISH:
            return None
        noted = self._journal.noted()
        if "reason" not in noted:
            return None
        evidence = {**noted["evidence"], "log_tail": tuple(noted["evidence"]["log_tail"])}
        return Outcome(EndReason(noted["reason"]), Evidence(**evidence))

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
            paths=self._container_paths(),
            predictions=self._predictions(),
        )

    def _container_paths(self) -> ContainerPaths:
        paths = self._engine.container_paths(self._run_dir.in_dir, self._run_dir.out_dir)
        shown = self._shown_folders()
        if not shown:
            return paths
        (place, folder), *_ = shown.items()
        return replace(paths, assets_dir=self._engine.show_folder(folder, place) or "")

    def _shown_folders(self) -> dict[str, Path]:
        """The store as a whole, by its path in the container, for a job that was planned so."""
        folder = self._installation.store.folder_of_all() if self._job.plan.get("asset_view") == job_data.INDEX else None
        return {f"{ContainerPaths().in_dir}/assets": folder} if folder else {}

    def _samples(self) -> tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]]:
        plan = self._job.plan
        if self._spec.kind is not Kind.TRAINING:
            return given_training(self._installation, plan, self._spec.kind), (), self._candidates() or ()
        with self._installation.database.reading() as session:
            train = job_data.pin(session, plan["train"])
            val = job_data.pin(session, plan["val"]) if plan["val"] else None
        return (*job_data.read_training(self._installation, train, val, plan["val_fraction"], self._spec.seed), ())

    def _predictions(self) -> Iterator[tuple[str, Sequence[Annotation]]] | None:
        candidates = self._candidates()
        return None if candidates is None else given_predictions(self._installation, self._job.plan, candidates)

    def _candidates(self) -> StoredSamples | None:
        if self._spec.kind is Kind.TRAINING:
            return None
        if self._data is None:
            with self._installation.database.reading() as session:
                self._data = job_data.pin(session, self._job.plan["data"])
        return job_data.read(self._installation, self._data)

    def _model(self) -> ModelInput | None:
        if not self._job.plan["model"]:
            return None
        with self._installation.database.reading() as session:
            model = models.get_model(session, self._job.plan["model"])
        return model_input(self._installation.folder(model.folder), model, self._job.plan["stage"])

    def _has_image(self) -> bool:
        """As of a few seconds ago: an image that went since then is missed when the container is created."""
        if self._installation.recent.get(self._image_key):
            return True
        for reference in (self._job.image_digest, self._job.image_reference):
            facts = self._engine.find_image(reference)
            if facts and facts.digest == self._job.image_digest:
                self._installation.recent.put(self._image_key, True)
                return True
        return False

    @property
    def _image_key(self) -> tuple[str, ...]:
        return ("image", self._job.engine, self._job.image_digest)

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
            read_only_folders=self._shown_folders(),
            gpu_uuids=tuple(self._job.gpu_uuids),
            gpu_injection=self._settings.gpu_injection,
            shm_bytes=plan["shm_bytes"],
            memory_bytes=plan["memory_bytes"],
            cpu_count=self._spec.cpu_count,
            pids_limit=self._settings.pids_limit,
            stop_grace_s=plan.get("stop_grace_s", self._settings.stop_grace_s),
        )

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
        if self._follower.engine_was_away:  # a restarting engine asks containers to end, and some do so with 0
            message = "the engine was restarted and the image ended without a result"
            return Outcome(EndReason.ENGINE_GONE, replace(evidence, message=message))
        found = ending.evidence_of_error(error)
        reason = ending.reason_of_error(error)
        return Outcome(reason, replace(evidence, message=found.message, hint=found.hint, fields=found.fields))

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


def labels_of(installation: Installation, job: JobRecord) -> dict[str, str]:
    """What identifies a job's container after a restart."""
    return {"sluice.installation": installation.id, "sluice.job": job.id, "sluice.attempt": str(job.attempt)}


def clean_up(installation: Installation, job: JobRecord) -> None:
    """After the end is durable: the record, then the container, then the lease. May be repeated; nothing that is needed is lost before.

    When the engine does not answer, container and lease stay: a lease ends only when the end was seen. ``Runner.sweep`` comes back to it.
    """
    run_dir = installation.run_dir(job.id)
    UsageLog(run_dir).finish()
    run_dir.write_job(job_view(job, attended=False))
    try:
        remove_container(installation, job)
    except EngineGoneError:
        log.warning("job %s: the engine is away; its container stays until the next sweep", job.id)
        return
    if job.gpu_uuids:
        installation.gpus.release(job.id, job.attempt)
    if job.end_reason is EndReason.SUCCEEDED:  # a failed one keeps what it was given, for whoever looks into it
        run_dir.drop_inputs(installation.dropped)
    installation.database.write(lambda session: jobs.set_columns(session, job.id, cleaned_at=datetime.now(timezone.utc)))


def remove_container(installation: Installation, job: JobRecord) -> None:
    """The container of the job's present attempt, found by name: a runner may have been killed before it could note the id."""
    engine, name = installation.engine_named(job.engine), container_name(job.id, job.attempt)
    if job.exit_code is None:  # nobody saw it exit
        engine.stop(name, installation.settings.stop_grace_s)
    engine.remove(name)

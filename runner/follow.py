"""A container from its start to its end: output, progress, requests to stop, an engine that is away for a while, and what the end means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from contracts.errors import EngineError, EngineGoneError, StartError
from contracts.image import Permissions
from contracts.job import EndReason, Evidence, JobSpec, JobWarning, Step, container_name
from contracts.seams import ContainerStatus
from registry.jobs import JobRecord
from runner import ending
from runner.ending import Circumstances
from runner.gpus.host import boot_id
from runner.installation import Installation
from runner.journal import Journal, LetGo, Orders, Stop
from runner.logs import LogCopy


class Follower:
    """Starts and follows the container of one attempt. ``warnings`` gathers what was tolerated, each once."""

    def __init__(self, installation: Installation, journal: Journal, orders: Orders, spec: JobSpec) -> None:
        self._installation = installation
        self._settings = installation.settings
        self._journal = journal
        self._orders = orders
        self._spec = spec
        self._engine = installation.engine_named(journal.job.engine)
        self._dialect = installation.dialect(journal.job.dialect)
        self._run_dir = installation.run_dir(journal.job.id)
        self.engine_was_away = False
        self._heard_at = time.monotonic()
        self._silent_since: float | None = None
        self.warnings: list[JobWarning] = []

    def run(self) -> ContainerStatus:
        """To the end of the container, over an engine that is away for a while: that it is silent does not mean that the job is gone."""
        while True:
            try:
                return self._follow_once()
            except EngineGoneError:
                self._note_absence()
                self._silent_since = self._silent_since or time.monotonic()
                if time.monotonic() - self._silent_since > self._silence_allowed_s:
                    raise
                self._journal.pause(1.0)
            except EngineError:  # a container that somebody removes can be missed by any question about it
                status = self._engine.status(self._container_id)
                if status.state != "gone":
                    raise
                return status

    def _note_absence(self) -> None:
        """On record: another runner may see the end that this one waits for."""
        if not self.engine_was_away:
            self.engine_was_away = True
            self._journal.note(engine_was_away=True)

    @property
    def _silence_allowed_s(self) -> float:
        """Before the start is known, as long as a start may take."""
        return self._settings.engine_silence_s if self._journal.job.step is not Step.START else self._settings.start_timeout_s

    @property
    def _container_id(self) -> str:
        return self._journal.job.container_id or ""

    def _follow_once(self) -> ContainerStatus:
        job, container_id = self._journal.job, self._container_id
        if self._is_lost():
            return ContainerStatus(container_id, "", "gone")
        if job.step is Step.FOLLOW:  # adopted: nobody listened meanwhile, but what was said before has a time
            self._heard_at = time.monotonic() - max(0.0, time.time() - self._last_sign())
        output = LogCopy(self._engine, container_id, self._run_dir.log_file)
        with self._installation.watch(self._engine, container_name(job.id, job.attempt), container_id) as watch:
            self._journal.at(Step.START, self._start)
            if job.step is not Step.FOLLOW:
                self._journal.enter(Step.FOLLOW, boot=boot_id())
            self._installation.start_helpers()
            self._installation.usage.register(job.id, self._engine, container_id, job.gpu_uuids, self._run_dir)
            try:
                while (status := watch.wait(self._settings.poll_interval_s)) is None:
                    self._observe(output)
            finally:
                self._installation.usage.unregister(job.id)
        output.drain()
        self._observe_progress(self._journal.hold_back)
        return status

    def _is_lost(self) -> bool:
        """Whether the container went before its start was seen. One that was created a moment ago is not asked for."""
        step = self._journal.job.step
        if step not in (Step.CREATE, Step.START) or (step is Step.CREATE and not self.engine_was_away):
            return False
        return self._engine.status(self._container_id).state == "gone"

    def _start(self) -> None:
        """With GPUs under the host's lock, after a last look at the cards: another installation may have been quicker."""
        job = self._journal.job
        books = self._installation.gpus.confirm_start(job.id, job.attempt) if job.gpu_uuids else nullcontext()
        try:
            with books:
                self._engine.start(self._container_id)
        except StartError as error:
            status = self._engine.status(self._container_id)
            if status.state in ("running", "exited"):  # it did start: a repeated start may be refused
                return
            raise error

    # ---------------------------------------------------------------------------------------------------------- while it runs

    def _observe(self, output: LogCopy) -> None:
        """One look: output, progress, requests to cancel, requests to let go."""
        if output.copy():
            self._heard_at = time.monotonic()
        self._observe_progress(self._journal.update)
        if self._orders.let_go.is_set():
            raise LetGo
        self._journal.reload_when_due()
        self._stop_if_due()
        self._silent_since = None  # the engine answered everything: its next silence is another one

    def _observe_progress(self, keep: Callable[..., None]) -> None:
        progress = self._dialect.read_progress(self._run_dir.out_dir)
        if progress is None:
            return
        self.warn(progress.warnings)
        shown = {"fraction": progress.fraction, "state": progress.state, "message": progress.message}
        if shown != self._journal.job.progress:
            self._heard_at = time.monotonic()
            keep(progress=shown)

    def _stop_if_due(self) -> None:
        job = self._journal.job
        stop = self._orders.stop or self._silence()
        if stop and "stop" not in self._journal.noted():
            self._journal.note(stop=str(stop.reason), stop_message=stop.message, stop_time=stop.time)
        if stop or job.cancel_requested_at or self._is_late():
            self._engine.stop(self._container_id, job.plan.get("stop_grace_s", self._settings.stop_grace_s))

    def _silence(self) -> Stop | None:
        allowed_s = self._spec.silence_timeout_s or self._settings.silence_timeout_s
        if not allowed_s:
            return None
        if time.monotonic() - self._heard_at < allowed_s:
            return None
        return Stop(EndReason.SILENT, f"the image neither printed nor reported progress for {allowed_s:g} s and was stopped", time.time())

    def _last_sign(self) -> float:
        """When the image last printed or wrote a file at the top of ``out/``, as far as the files tell; Unix seconds."""
        files = [self._run_dir.log_file, *self._run_dir.out_dir.glob("*")]
        return max((file.stat().st_mtime for file in files if file.is_file()), default=time.time())

    def _is_late(self) -> bool:
        if not self._spec.timeout_s:
            return False
        started_at = self._engine.status(self._container_id).started_at
        return started_at is not None and time.time() - started_at >= self._spec.timeout_s

    def warn(self, warnings: Iterable[JobWarning]) -> None:
        """Each warning once, however often the file it is about is read."""
        self.warnings += [warning for warning in warnings if warning not in self.warnings]

    # ------------------------------------------------------------------------------------------------------- what the end means

    def end_of(self, status: ContainerStatus, job: JobRecord) -> tuple[EndReason, Evidence]:
        """From what the engine and the journal say, so that a restarted runner finds the same."""
        tail = self._run_dir.log_tail(self._settings.log_tail_lines)
        noted = self._journal.noted()
        circumstances = Circumstances(
            cancel_requested_at=job.cancel_requested_at,
            timeout_s=self._spec.timeout_s,
            stop=_stop(noted),
            engine_was_away=bool(noted.get("engine_was_away")),
            rebooted=noted.get("boot", boot_id()) != boot_id(),
            log_tail=tail if job.gpu_uuids else (),
        )
        reason, message = ending.reason_of_exit(status, circumstances)
        progress = self._dialect.read_progress(self._run_dir.out_dir)
        return reason, ending.evidence_of_exit(reason, message, status, progress, tail, Permissions(**job.plan["permissions"]))


def _stop(noted: Mapping[str, Any]) -> Stop | None:
    if "stop" not in noted:
        return None
    return Stop(EndReason(noted["stop"]), noted["stop_message"], noted["stop_time"])

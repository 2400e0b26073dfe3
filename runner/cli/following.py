"""Waiting for a job: live progress on stderr, Ctrl-C leaves the job running, a failed job becomes an error."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import JobFailedError
from runner.cli.blocks import make_console, print_blocks
from runner.cli.failures import Detached
from runner.cli.job_blocks import next_commands, result_blocks, step_text, waiting_text, warning_blocks
from runner.cli.session import Session, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from runner.cli.session import AnyRunner

Job = Mapping[str, Any]


def wait_and_answer(session: Session, runner: AnyRunner, job_id: str) -> None:
    """Wait for the job's end and print its result. Raises ``JobFailedError``, and ``Detached`` on Ctrl-C."""
    job = wait(runner, job_id)
    if job["state"] != "succeeded":
        raise job_failed(job)
    session.answer(job, result_blocks)
    if not session.as_json:
        print_blocks(warning_blocks(job["warnings"]), sys.stderr)
    session.hint(*next_commands(job))


def wait(runner: AnyRunner, job_id: str) -> Job:
    """The job when it has ended, its progress shown meanwhile."""
    job: Job = {}
    try:
        with _handled(_interrupt, signal.SIGHUP, signal.SIGTERM), _display() as display:
            for job in runner.watch(job_id):
                display.update(job)
    except KeyboardInterrupt:
        with _handled(_not_now, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            runner.attend(job_id)
        raise Detached(job_id) from None
    return job


def job_failed(job: Job) -> JobFailedError:
    """The error for a job that ended otherwise than well."""
    message = (job["evidence"] or {}).get("message") or ""
    ending = "was cancelled" if job["state"] == "cancelled" else f"failed: {job['end_reason']}"
    return JobFailedError(f"job {job['id']} {ending}{f': {message}' if message else ''}", hint=job["next_step"] or "", job=job)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """The signals go to the handler, but for those that the caller of this process ignores, as nohup does."""
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, former in before.items() if former not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A closed terminal or a polite kill is treated as Ctrl-C: the job goes on."""
    raise KeyboardInterrupt


def _not_now(_number: int, _frame: FrameType | None) -> None:
    """Handing the job over is short and must not be broken off by an impatient second Ctrl-C."""


class LineDisplay(AbstractContextManager["LineDisplay"]):
    """For a pipe or a log file: a line for each new step, for each ten percent, and for what a queued job waits for."""

    def __init__(self) -> None:
        self._seen: tuple[str, int, str] = ("", -1, "")

    def update(self, job: Job) -> None:
        progress = job["progress"] or {}
        tenths = int((progress.get("fraction") or 0.0) * 10 + 1e-9) if job["step"] == "follow" else 0
        now = (job["step"], tenths, waiting_text(job))
        if now == self._seen or job["state"] not in ("queued", "running"):
            return
        self._seen = now
        share = f"  {tenths * 10} %  {progress.get('message') or ''}" if tenths else ""
        click.echo(plain(f"{job['id']}  {waiting_text(job) or step_text(job)}{share}").rstrip(), err=True)

    def __exit__(self, *exc_info: object) -> None:
        pass


class BarDisplay(AbstractContextManager["BarDisplay"]):
    """For a terminal: one line that moves, gone when the job has ended."""

    def __init__(self) -> None:
        self._progress = _make_progress()
        self._task: TaskID = self._progress.add_task("queued", total=1.0, message="")

    def __enter__(self) -> BarDisplay:
        self._progress.start()
        return self

    def update(self, job: Job) -> None:
        progress = job["progress"] or {}
        message = plain(waiting_text(job) or progress.get("message") or "")[:70]
        self._progress.update(
            self._task, description=f"{job['id']} {step_text(job)}", completed=progress.get("fraction") or 0.0, message=message
        )

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()


def _display() -> LineDisplay | BarDisplay:
    return BarDisplay() if sys.stderr.isatty() else LineDisplay()


def _make_progress() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        console=make_console(sys.stderr),
        transient=True,
    )


class ImportDisplay(AbstractContextManager["ImportDisplay"]):
    """How far an import or analysis is: a bar on a terminal, nothing elsewhere. Call it with ``(done, total or None)``."""

    def __init__(self, doing: str = "importing") -> None:
        self._progress = _make_progress() if sys.stderr.isatty() else None
        self._task = self._progress.add_task(doing, total=None, message="") if self._progress else None

    def __enter__(self) -> ImportDisplay:
        if self._progress:
            self._progress.start()
        return self

    def __call__(self, done: int, total: int | None) -> None:
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, message=f"{done} images")

    def __exit__(self, *exc_info: object) -> None:
        if self._progress:
            self._progress.stop()

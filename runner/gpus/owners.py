"""Whose the processes on a card are: from a pid to its container to its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.gpu import GpuProcess
from runner.gpus.host import PROC, containers_of, started_at

#: Clocks are read one after the other; a pid is not given out again so soon.
_CLOCK_SLACK_S = 1.0


@dataclass(frozen=True)
class Process:
    """A process on a card. ``containers`` are the ids it runs in, outermost first: () for none, None when it is gone or hidden.

    ``job_id`` and ``attempt`` are those of the container that is ours; '' and 0 when none is.
    """

    pid: int
    used_bytes: int | None
    command: str
    containers: tuple[str, ...] | None
    job_id: str = ""
    attempt: int = 0

    @property
    def is_known(self) -> bool:
        """Whether the process was there: it still is, or its command could be read when the card was."""
        return self.containers is not None or bool(self.command)

    @property
    def text(self) -> str:
        return f"pid {self.pid} {self.command}".rstrip()


def processes_on(
    listed: Sequence[GpuProcess], own: Mapping[str, tuple[str, int]], taken_at: float = 0.0, proc: Path = PROC
) -> tuple[Process, ...]:
    """The processes as the card listed them at ``taken_at``. ``own`` are our containers' job and attempt by id.

    A pid that meanwhile belongs to a process that started later blames nobody: the one that was on the card is gone.
    """
    return tuple(_process(process, own, taken_at, proc) for process in listed)


def _process(listed: GpuProcess, own: Mapping[str, tuple[str, int]], taken_at: float, proc: Path) -> Process:
    found = containers_of(listed.pid, proc)
    if found is not None and taken_at and (started_at(listed.pid, proc) or 0.0) > taken_at + _CLOCK_SLACK_S:
        found = None
    job_id, attempt = next((own[container] for container in found or () if container in own), ("", 0))
    return Process(listed.pid, listed.used_bytes, listed.command, found, job_id, attempt)

"""The words between the GPUs and whoever looks after the jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class LeaseHolder:
    """An attempt that was given cards. ``ended``: it needs them no more; ``container`` is the name of its container, '' while it has none."""

    job_id: str
    attempt: int
    ended: bool = False
    container: str = ""


@dataclass(frozen=True)
class GpuLost:
    """An attempt that cannot go on: cards it holds were lost, made anew, or need a reset. Found again at every look while it lasts."""

    job_id: str
    attempt: int
    uuids: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Violated:
    """A process of a job is on a card that the job does not hold."""

    job_id: str
    uuid: str
    pid: int


@dataclass(frozen=True)
class Orphan:
    """A running container of a job on record was given cards that no lease of it explains."""

    container: str
    job_id: str


Finding: TypeAlias = GpuLost | Violated | Orphan

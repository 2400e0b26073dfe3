"""Whether an ended job's cards can be given to others: decided from one reading, with the time handed in."""

from __future__ import annotations

from enum import Enum

from contracts.job import container_name
from registry.leases import LeaseRecord
from runner.gpus.books import Books
from runner.gpus.host import is_container_id
from runner.gpus.owners import Process

#: A driver frees the memory of a killed process within seconds; what is left after this long will not go by itself.
STUCK_AFTER_S = 60.0


class Verdict(str, Enum):
    """What becomes of the lease now."""

    RELEASE = "release"
    WAIT = "wait"
    STUCK = "stuck"


def verdict(lease: LeaseRecord, books: Books, ended_for_s: float) -> tuple[Verdict, str]:
    """And what is left on the cards, '' for nothing. ``ended_for_s``: since the release began.

    A lease whose container was never about to start is released at once: nothing of the job can be anywhere.
    """
    left = remains(lease, books) if lease.container_id is not None else ""
    if not left:
        return Verdict.RELEASE, ""
    return (Verdict.STUCK if ended_for_s >= STUCK_AFTER_S else Verdict.WAIT), left


def remains(lease: LeaseRecord, books: Books) -> str:
    """What of the job is still there, '' for nothing. A card that is lost or no longer there is not waited for: its health keeps it from others."""
    name = container_name(lease.job_id, lease.attempt)
    if name in books.running:
        return f"its container {name} still runs"
    if books.engine_error:
        return f"whether its container has ended cannot be seen: {books.engine_error}"
    return next((left for uuid in lease.uuids if (left := _left_on(uuid, lease, books))), "")


def _left_on(uuid: str, lease: LeaseRecord, books: Books) -> str:
    gpu = books.gpus.get(uuid)
    if gpu is None or gpu.error:
        return ""
    processes = books.processes(gpu)
    own = [process for process in processes if _is_of(process, lease, books)]
    if own:
        return f"{own[0].text} is still on {uuid}"
    shared = len(books.leases_on.get(uuid, ())) > 1
    explained = shared or any(process.is_known for process in processes)  # what others use is not the job's to give back
    if gpu.used_bytes > books.idle_bytes and not explained:
        return f"{gpu.used_bytes / 1024**3:.1f} GiB are still in use on {uuid}"
    return ""


def _is_of(process: Process, lease: LeaseRecord, books: Books) -> bool:
    """A job without a container of an engine that control groups know has the processes that are where the runner is."""
    if is_container_id(lease.container_id):
        return (process.job_id, process.attempt) == (lease.job_id, lease.attempt)
    return process.containers == books.runner_containers

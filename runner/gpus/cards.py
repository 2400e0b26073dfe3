"""What the books say of each card together. A card can be leased only when all of them say that it is free.

===========  ====================================================================================================
free         nobody; the only state in which a whole card can be leased
leased       jobs of ours
contended    jobs of ours, and a process or container that has no business there
violated     a process of one of our jobs that holds other cards
foreign      a process that no lease explains
orphan       a container of one of our jobs that has no lease
claimed      a container that no lease explains was given the card, and has no process on it yet
zombie       nobody, yet more memory is used than an idle card uses, or by a process that is gone
stuck        a job of ours that has ended; its memory or processes stay on the card
lost         the card does not answer
missing      the card is no longer there
quarantined  nobody, and the card is not healthy
drained      nobody, and an operator, the card itself or a start that failed over it keeps new jobs away
mig          the card is cut into slices, which are leased instead
prohibited   the card's compute mode allows no job
unknown      nobody as far as can be seen, but not everything can be seen
===========  ====================================================================================================

The first rule that fits decides (``classification``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from contracts.gpu import Gpu
from contracts.job import container_name
from registry.leases import LeaseRecord
from runner.gpus.owners import Process
from runner.gpus.taints import Taint


class CardState(str, Enum):
    """The table above."""

    FREE = "free"
    LEASED = "leased"
    CONTENDED = "contended"
    VIOLATED = "violated"
    FOREIGN = "foreign"
    ORPHAN = "orphan"
    CLAIMED = "claimed"
    ZOMBIE = "zombie"
    STUCK = "stuck"
    LOST = "lost"
    MISSING = "missing"
    QUARANTINED = "quarantined"
    DRAINED = "drained"
    MIG = "mig"
    PROHIBITED = "prohibited"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Card:
    """A card or slice with its state.

    ``holder`` are job ids, containers' names, or a pid and its command; ``reason`` one sentence, '' where all is well. ``containers`` are all
    running ones that were given the device, whoever's they are. ``drained``: by an operator.
    """

    gpu: Gpu
    state: CardState
    holder: str = ""
    reason: str = ""
    leases: tuple[LeaseRecord, ...] = ()
    containers: tuple[str, ...] = ()
    processes: tuple[Process, ...] = ()
    taints: tuple[Taint, ...] = ()
    health: str = "ok"
    pool: str = ""
    drained: bool = False

    @property
    def uuid(self) -> str:
        return self.gpu.uuid

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(lease.job_id for lease in self.leases)

    @property
    def name(self) -> str:
        """``gpu3``; of a slice the profile too, of a missing card its uuid."""
        if self.gpu.index < 0:
            return self.gpu.uuid
        return f"gpu{self.gpu.index} slice {self.gpu.profile or self.gpu.uuid}" if self.gpu.kind == "mig" else f"gpu{self.gpu.index}"

    @property
    def busy_text(self) -> str:
        """``gpu3 foreign pid 4711 python``, ``gpu5 quarantined (Xid 79: ...)``."""
        return f"{self.name} {self.state} {self.holder or f'({self.reason})'}"

    def view(self) -> dict[str, Any]:
        """The card as the doors show it."""
        shown = asdict(self.gpu)
        del shown["processes"], shown["error"]
        return {
            **shown,
            "state": str(self.state),
            "holder": self.holder,
            "reason": self.reason,
            "pool": self.pool,
            "drained": self.drained,
            "health": self.health,
            "health_reasons": [taint.text for taint in self.taints],
            "job": self.jobs[0] if len(self.jobs) == 1 else None,
            "jobs": list(self.jobs),
            "pids": [_process_view(process) for process in self.processes],
            "containers": list(self.containers),
        }


def _process_view(process: Process) -> dict[str, Any]:
    container = container_name(process.job_id, process.attempt) if process.job_id else (process.containers or ("",))[0][:12]
    return {
        "pid": process.pid,
        "command": process.command,
        "used_bytes": process.used_bytes,
        "container": container,
        "job": process.job_id or None,
    }

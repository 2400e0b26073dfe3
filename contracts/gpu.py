"""A GPU as its source sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuProcess:
    """A process with memory on a card. ``pid`` is a host pid; ``used_bytes`` None when the driver does not say."""

    pid: int
    used_bytes: int | None = None
    command: str = ""


@dataclass(frozen=True)
class Gpu:
    """One whole card. ``uuid`` is its address everywhere; ``index`` is for display and may change at reboot.

    ``error`` is '' for a card that answers; otherwise it says what failed, and the card must not be leased.
    ``used_bytes`` leaves out what the driver reserves for itself.
    """

    uuid: str
    index: int
    name: str = ""
    total_bytes: int = 0
    used_bytes: int = 0
    utilization_fraction: float | None = None
    temperature_c: int | None = None
    processes: tuple[GpuProcess, ...] = ()
    error: str = ""

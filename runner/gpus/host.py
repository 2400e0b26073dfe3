"""What the host's own system says: which boot this is, and which containers a process runs in."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

PROC = Path("/proc")
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


def boot_id(proc: Path = PROC) -> str:
    """Changes with every boot of the host; '' where the system does not tell."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def is_container_id(text: str | None) -> bool:
    """Whether it is an id as container engines make them, which can be found in control groups."""
    return bool(text and _CONTAINER_ID.fullmatch(text))


def containers_of(pid: int, proc: Path = PROC) -> tuple[str, ...] | None:
    """Ids of the containers a host process runs in, outermost first; () for none, None when it is gone or hidden.

    Docker, containerd and podman all have the 64 hexadecimal digits in the control group's path, under cgroup v1 and v2 alike.
    """
    try:
        groups = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return max((tuple(_CONTAINER_ID.findall(group)) for group in groups), key=len, default=())


def started_at(pid: int, proc: Path = PROC) -> float | None:
    """When a process started, in Unix seconds; None when it is gone or hidden."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])  # field 22; the name before it may hold blanks and brackets
    except (OSError, ValueError, IndexError):
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")

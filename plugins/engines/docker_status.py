"""What Docker says of a container, in the words of the seam."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from contracts.seams import ContainerStats, ContainerStatus, EngineInfo
from plugins.engines.docker_gpus import given_gpus, gpu_advice

_STATES = {
    "created": "created",
    "running": "running",
    "paused": "running",  # its processes exist and hold their memory and cards
    "restarting": "running",
    "exited": "exited",
    "removing": "running",  # it will soon be gone; between the kill and the end of `docker rm -f` it has not exited by itself
    "dead": "exited",  # could not be removed whole; its exit code is still known
}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def status_of(inspected: Mapping[str, Any]) -> ContainerStatus:
    """The status in an inspection. A failed start leaves ``created``, whose exit code 128 is no exit code."""
    raw = inspected["State"]
    state = _STATES.get(raw["Status"], "running")
    if state == "exited" and not unix_time(raw.get("StartedAt")):
        state = "created"  # dead or being removed without ever having run
    ended = state == "exited"
    return ContainerStatus(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        state=state,
        exit_code=raw["ExitCode"] if ended else None,
        out_of_memory=bool(raw.get("OOMKilled")),
        error=raw.get("Error") or "",
        started_at=unix_time(raw.get("StartedAt")),
        ended_at=unix_time(raw.get("FinishedAt")) if ended else None,
        labels=inspected["Config"].get("Labels") or {},
        gpu_uuids=tuple(given_gpus(inspected)),
    )


def listed_status(row: Mapping[str, Any]) -> ContainerStatus:
    """What a line of the engine's list says: all that there is to say of a container that runs or was not started."""
    name = (row.get("Names") or [""])[0].lstrip("/")
    return ContainerStatus(id=row["Id"], name=name, state=_STATES.get(row["State"], "running"), labels=row.get("Labels") or {})


def is_same_end(row: Mapping[str, Any], ended: ContainerStatus) -> bool:
    """Whether a line of the list is about the end that is known: somebody may have run the container again meanwhile."""
    return str(row.get("Status") or "").startswith(f"Exited ({ended.exit_code})")


def gone_status(container_id: str) -> ContainerStatus:
    return ContainerStatus(id=container_id, name="", state="gone")


def stats_of(raw: Mapping[str, Any] | None, host_memory_bytes: int) -> ContainerStats:
    """One sample; the engine answers null for a container that ends at this moment.

    Memory is without the file cache that the kernel can drop, as `docker stats` shows it. The engine says the host's where there is no limit.
    """
    raw = raw or {}
    memory, cpu = raw.get("memory_stats") or {}, (raw.get("cpu_stats") or {}).get("cpu_usage") or {}
    if "usage" not in memory:
        return ContainerStats()
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, v2
    used, limit = memory["usage"], memory.get("limit") or 0
    return ContainerStats(
        memory_bytes=used - cache if cache < used else used,
        cpu_seconds=cpu["total_usage"] / 1e9 if "total_usage" in cpu else None,
        pids=(raw.get("pids_stats") or {}).get("current"),
        memory_limit_bytes=limit if 0 < limit < host_memory_bytes else None,
    )


def info_of(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineInfo:
    runtimes = sorted(info.get("Runtimes") or {})
    cdi = [str(device.get("ID")) for device in info.get("DiscoveredDevices") or [] if device.get("Source") == "cdi"]
    details = {
        "api": version.get("ApiVersion"),
        "system": info.get("OperatingSystem"),
        "architecture": info.get("Architecture"),
        "storage driver": info.get("Driver"),
        "root folder": info.get("DockerRootDir"),
        "cgroup": f"v{info.get('CgroupVersion') or 1}, {info.get('CgroupDriver')}",
        "memory": f"{int(info.get('MemTotal') or 0) / 1024**3:.1f} GiB",
        "CPUs": info.get("NCPU"),
        "runtimes": ", ".join(runtimes),
        "nvidia runtime": "yes" if any("nvidia" in name for name in runtimes) else "no",
        "cdi devices": ", ".join(cdi) or "none",
        "memory limit": "yes" if info.get("MemoryLimit") else "no",
        "swap limit": "yes" if info.get("SwapLimit") else "no",
    }
    known = {name: str(value) for name, value in details.items() if value is not None}
    return EngineInfo("docker", str(version.get("Version")), known, tuple(_advice(info)))


def _advice(info: Mapping[str, Any]) -> Iterator[str]:
    if not info.get("LiveRestoreEnabled"):
        yield 'A restart of the engine ends running jobs: put "live-restore": true into its daemon.json and reload it.'
    if not info.get("MemoryLimit"):
        yield "The kernel limits no memory, so a job can take the host's: boot it with cgroup_enable=memory."
    yield from gpu_advice(info)


def unix_time(text: str | None) -> float | None:
    """Unix seconds; None for Docker's zero time 0001-01-01T00:00:00Z."""
    nanoseconds = unix_ns(text or "")
    return nanoseconds / 1e9 if nanoseconds > 0 else None


def unix_ns(text: str) -> int:
    """Unix nanoseconds of an RFC 3339 time; 0 when it is none, negative before 1970."""
    match = _TIME.fullmatch(text)
    if not match:
        return 0
    seconds = _unix_seconds(match[1], match[3])
    return -1 if seconds < 0 else seconds * 10**9 + int((match[2] or "0").ljust(9, "0"))


@lru_cache(maxsize=16)  # log entries share their second with thousands of others
def _unix_seconds(local: str, zone: str) -> int:
    return int(datetime.fromisoformat(local + zone.replace("Z", "+00:00")).timestamp())

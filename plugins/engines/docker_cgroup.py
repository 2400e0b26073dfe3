"""What a container uses, from the kernel's own files: dockerd takes a second for each answer, these take a millisecond.

Control groups of version 1 (a folder for each controller) and 2 (one folder), wherever the engine put the container's. Files that are not there,
as when the engine runs on another machine, mean that the engine must be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.seams import ContainerStats

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "cpuacct", "pids")


@dataclass(frozen=True)
class CgroupFolders:
    """Where a container's files are. Under version 2 all three are the same folder."""

    memory: Path
    cpu: Path
    pids: Path

    @property
    def is_unified(self) -> bool:
        return self.memory == self.cpu


def find_folders(container_id: str, pid: int, proc: Path = _PROC, root: Path = _CGROUP) -> CgroupFolders | None:
    """By a process of the container (0: it has none); None when they cannot be found here.

    That the id is in the path tells the container's process from one that has the same number in another namespace, or has it since.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    paths = dict(_paths(lines, container_id))
    by_controller = [root / name / paths[name] for name in _CONTROLLERS if name in paths]
    if len(by_controller) < len(_CONTROLLERS):
        by_controller = [root / paths[""]] * len(_CONTROLLERS) if "" in paths else []
    return CgroupFolders(*by_controller) if by_controller and all(folder.is_dir() for folder in by_controller) else None


def _paths(lines: list[str], container_id: str) -> Iterator[tuple[str, str]]:
    """Pairs of controller ('' for version 2) and the container's folder below its root: a process may be in one below that."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        before, found, after = path.partition(container_id)
        if found:
            for controller in controllers.split(","):
                yield controller, (before + found + after.partition("/")[0]).lstrip("/")


def read_stats(folders: CgroupFolders, host_memory_bytes: int) -> ContainerStats:
    """One sample. Memory is without the file cache that the kernel can drop. Raises ``OSError`` when the container has ended."""
    return _unified(folders.memory, host_memory_bytes) if folders.is_unified else _by_controller(folders, host_memory_bytes)


def _by_controller(folders: CgroupFolders, host_memory_bytes: int) -> ContainerStats:
    cache = _named_numbers(folders.memory / "memory.stat")["total_inactive_file"]
    return ContainerStats(
        memory_bytes=max(0, _number(folders.memory / "memory.usage_in_bytes") - cache),
        cpu_seconds=_number(folders.cpu / "cpuacct.usage") / 1e9,
        pids=_number(folders.pids / "pids.current"),
        memory_limit_bytes=_limit(folders.memory / "memory.limit_in_bytes", host_memory_bytes),
    )


def _unified(folder: Path, host_memory_bytes: int) -> ContainerStats:
    cache = _named_numbers(folder / "memory.stat")["inactive_file"]
    return ContainerStats(
        memory_bytes=max(0, _number(folder / "memory.current") - cache),
        cpu_seconds=_named_numbers(folder / "cpu.stat")["usage_usec"] / 1e6,
        pids=_number(folder / "pids.current"),
        memory_limit_bytes=_limit(folder / "memory.max", host_memory_bytes),
    )


def _limit(file: Path, host_memory_bytes: int) -> int | None:
    """None for none: version 1 says a number beyond any memory, version 2 ``max``."""
    text = file.read_text(encoding="ascii").strip()
    limit = 0 if text == "max" else int(text)
    return limit if 0 < limit < host_memory_bytes else None


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _named_numbers(file: Path) -> Mapping[str, int]:
    """A line for each: name, blank, number."""
    pairs = (line.split(" ", 1) for line in file.read_text(encoding="ascii").splitlines())
    return {name: int(value) for name, value in pairs}

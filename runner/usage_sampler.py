"""Samples what the running jobs of this process use: processor, memory, GPUs, and the disk of /out."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue

from contracts.gpu import Gpu, Snapshot
from contracts.seams import ContainerStats, Engine
from runner.run_dir import RunDir
from runner.usage import UsageLog
from runner.usage_samples import GpuUse, UsageSample

#: A job that ends sooner is not sampled.
_FIRST_AFTER_S = 1.0
_ASKING_AT_ONCE = 8
_OUT_EVERY_S = 30.0
_OUT_MOST_ENTRIES = 20_000
_log = logging.getLogger(__name__)


class FolderSize:
    """The disk that a folder takes, measured at most every half minute and never longer than some ten thousand names take."""

    def __init__(self, folder: Path, every_s: float = _OUT_EVERY_S, most_entries: int = _OUT_MOST_ENTRIES) -> None:
        self._folder, self._every_s, self._most_entries = folder, every_s, most_entries
        self._measured_at = float("-inf")
        self._bytes = 0

    def measure(self) -> int:
        """Bytes of all files together, at least: names beyond the limit and folders that cannot be read are not counted."""
        if time.monotonic() - self._measured_at >= self._every_s:
            self._bytes = sum(_disk_bytes(entry) for entry in islice(_entries(self._folder), self._most_entries))
            self._measured_at = time.monotonic()
        return self._bytes


@dataclass
class _Watched:
    """A running job. ``due_at`` is on the monotonic clock."""

    engine: Engine
    container_id: str
    gpu_uuids: tuple[str, ...]
    log: UsageLog
    out_size: FolderSize
    due_at: float
    complained: bool = field(default=False)


class UsageSampler:
    """Samples every registered job at the same moments, from ``start`` to ``stop``: one GPU snapshot for all of them.

    Each engine is asked by threads of its own; while it is slow its own jobs go without samples and no other's. Nothing that fails here
    reaches the driver of a job. ``interval_s`` 0 means no samples.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], interval_s: float) -> None:
        self._snapshot = snapshot
        self._interval_s = interval_s
        self._changed = threading.Condition()
        self._jobs: dict[str, _Watched] = {}
        self._asking: dict[int, list[threading.Thread]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        if self._interval_s > 0 and self._thread is None:
            thread = threading.Thread(target=self._run, name="usage", daemon=True)
            thread.start()
            self._thread = thread  # not before: who stops it meanwhile must not wait for what has not begun

    def stop(self) -> None:
        """Containers go on; the next process goes on sampling them. May be repeated."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(5.0)

    def register(self, job_id: str, engine: Engine, container_id: str, gpu_uuids: Sequence[str], run_dir: RunDir) -> None:
        """Sample this job's running container. Registering it again replaces what was known of it. May come before ``start``."""
        due_at = time.monotonic() + min(_FIRST_AFTER_S, self._interval_s)
        watched = _Watched(engine, container_id, tuple(gpu_uuids), UsageLog(run_dir), FolderSize(run_dir.out_dir), due_at)
        self.unregister(job_id)
        with self._changed:
            is_next = all(due_at < other.due_at for other in self._jobs.values())
            self._jobs[job_id] = watched
            if is_next:  # the thread waits for a later moment
                self._changed.notify_all()

    def unregister(self, job_id: str) -> None:
        """No sample of this job is written any more when this returns; it waits for no engine. May be repeated."""
        with self._changed:
            watched = self._jobs.pop(job_id, None)
        if watched:
            try:
                watched.log.close()
            except OSError as error:
                _log.warning("the last sample of job %s could not be written: %s", job_id, error)

    # ------------------------------------------------------------------------------------------------------------ the rounds

    def _run(self) -> None:
        while (due := self._wait_for_due()) is not None:
            try:
                self._ask_engines(due, self._read_gpus(due.values()))
            except Exception:
                _log.exception("no sample was taken of what jobs use")

    def _wait_for_due(self) -> dict[str, _Watched] | None:
        """The jobs whose moment has come; None at the end. The next moments of all jobs fall together."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                due = {job_id: watched for job_id, watched in self._jobs.items() if watched.due_at <= now}
                for watched in due.values():
                    watched.due_at = (now // self._interval_s + 1) * self._interval_s
                if due:
                    return due
                self._changed.wait(min((watched.due_at - now for watched in self._jobs.values()), default=None))
            return None

    def _read_gpus(self, due: Iterable[_Watched]) -> dict[str, Gpu]:
        if not any(watched.gpu_uuids for watched in due):
            return {}
        try:
            return {gpu.uuid: gpu for gpu in self._snapshot().gpus if not gpu.error}
        except Exception as error:
            _log.warning("the GPUs could not be read for samples: %s", error)
            return {}

    def _ask_engines(self, due: Mapping[str, _Watched], gpus: Mapping[str, Gpu]) -> None:
        by_engine: dict[int, dict[str, _Watched]] = defaultdict(dict)
        for job_id, watched in due.items():
            by_engine[id(watched.engine)][job_id] = watched
        for key, jobs in by_engine.items():
            if not any(thread.is_alive() for thread in self._asking.get(key, ())):
                self._asking[key] = _ask(jobs, gpus)


def _ask(jobs: Mapping[str, _Watched], gpus: Mapping[str, Gpu]) -> list[threading.Thread]:
    """Some threads, because Docker takes up to a second for an answer; daemons, because it may hang when the process ends."""
    waiting: SimpleQueue[tuple[str, _Watched]] = SimpleQueue()
    for item in jobs.items():
        waiting.put(item)
    count = min(_ASKING_AT_ONCE, len(jobs))
    threads = [threading.Thread(target=_sample_all, args=(waiting, gpus), name="usage of containers", daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def _sample_all(waiting: SimpleQueue[tuple[str, _Watched]], gpus: Mapping[str, Gpu]) -> None:
    while True:
        try:
            job_id, watched = waiting.get_nowait()
        except Empty:
            return
        try:
            stats = watched.engine.stats(watched.container_id)
            if stats != ContainerStats():
                watched.log.append(_sample(watched, stats, gpus))
            watched.complained = False
        except Exception as error:
            _log.log(logging.DEBUG if watched.complained else logging.WARNING, "job %s: no sample of what it uses: %s", job_id, error)
            watched.complained = True


def _sample(watched: _Watched, stats: ContainerStats, gpus: Mapping[str, Gpu]) -> UsageSample:
    found = [gpus[uuid] for uuid in watched.gpu_uuids if uuid in gpus]
    return UsageSample(
        time=round(time.time(), 3),
        container=watched.container_id[:12],
        memory_bytes=stats.memory_bytes,
        memory_limit_bytes=stats.memory_limit_bytes,
        cpu_seconds=stats.cpu_seconds,
        pids=stats.pids,
        out_bytes=watched.out_size.measure(),
        gpus=tuple(GpuUse(gpu.uuid, gpu.utilization_fraction, gpu.used_bytes) for gpu in found),
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below the folder; follows no link."""
    waiting = [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                yield entry


def _disk_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:  # gone meanwhile
        return 0

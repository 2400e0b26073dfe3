"""The run directory: the record of one job.

``in/`` and ``out/`` are what the container sees, ``container.log`` its output, ``job.json`` the whole job as the doors show it (written
atomically, last), ``lock`` is held by the process that drives the job: whoever can take it may carry the job on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from runner.dropped import Dropped
from runner.locks import try_lock


def write_atomically(path: Path, content: bytes) -> None:
    """The file has the old content or the new one, also after a crash."""
    aside = path.with_name(f".{path.name}.new")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def sync_to_disk(*paths: Path) -> None:
    """What these files and folders hold now is there after a power cut. Does nothing where the disk cannot promise it."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        with suppress(OSError):  # some network disks cannot
            os.fsync(descriptor)
        os.close(descriptor)


class RunDir:
    """The files of one job below ``<home>/runs/<job id>``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def in_dir(self) -> Path:
        return self.path / "in"

    @property
    def out_dir(self) -> Path:
        return self.path / "out"

    @property
    def log_file(self) -> Path:
        return self.path / "container.log"

    @property
    def job_file(self) -> Path:
        return self.path / "job.json"

    @property
    def _attempt_file(self) -> Path:
        return self.path / "attempt"

    @property
    def _lock_file(self) -> Path:
        return self.path / "lock"

    def open_attempt(self, attempt: int) -> bool:
        """Puts aside what a former attempt left in ``out/``, as ``out-<its number>/``. True when it did; may be repeated."""
        former = self._attempt_file.read_text(encoding="ascii") if self._attempt_file.exists() else "1"
        if former == str(attempt):
            return False
        if self.out_dir.exists():
            self.out_dir.replace(self.path / f"out-{former}")
        return True

    def note_attempt(self, attempt: int) -> None:
        """From here on ``out/`` is this attempt's."""
        write_atomically(self._attempt_file, str(attempt).encode())

    def create(self) -> None:
        """May be repeated."""
        for folder in (self.in_dir, self.out_dir):
            folder.mkdir(parents=True, exist_ok=True)

    def write_job(self, job: Mapping[str, Any]) -> None:
        write_atomically(self.job_file, json.dumps(job, indent=2, ensure_ascii=False).encode())

    def drop_inputs(self, dropped: Dropped) -> None:
        """Removes the folders below ``in/``: views of assets, annotations and model files, which are kept elsewhere. Its files stay."""
        for path in list(self.in_dir.iterdir()) if self.in_dir.exists() else ():
            if path.is_dir() and not path.is_symlink():
                dropped.drop(path)

    def log_tail(self, lines: int) -> tuple[str, ...]:
        """The last lines of the output, oldest first; at most 64 KiB are read."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, self.log_file.stat().st_size - 65536))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ()
        return tuple(text.splitlines()[-lines:])

    @contextmanager
    def driving(self, wait_s: float = 0.0) -> Iterator[bool]:
        """Whether this process may drive the job: True inside exactly one process at a time, released even by kill -9."""
        lock = self.take(wait_s)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.close()

    def take(self, wait_s: float = 0.0) -> IO[str] | None:
        """As ``driving`` for whoever lets go elsewhere: the lock is held until the file is closed. None when another process drives the job."""
        file = self._open_lock()
        try:
            if _take(file.fileno(), time.monotonic() + wait_s):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def _open_lock(self) -> IO[str]:
        try:
            return self._lock_file.open("a")
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            return self._lock_file.open("a")

    def is_driven(self) -> bool:
        """Whether some process drives the job now."""
        if not self._lock_file.exists():
            return False
        with self.driving() as taken:
            return not taken


def _take(descriptor: int, deadline: float) -> bool:
    while not try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True

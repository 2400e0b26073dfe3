"""What a job used while it ran: samples beside its run directory, kept as Parquet when it has ended.

``usage.jsonl`` grows by a line for each sample; ``usage.parquet`` and ``usage.json`` (the summary) replace it in the end. What a kill cuts off is
dropped, and the next process goes on. docs/notes/telemetry.md lists the columns.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from runner.run_dir import RunDir, write_atomically
from runner.usage_samples import UsageSample, from_line, merged, summarize, to_line, write_table

#: A job's samples are at least this share of its age apart: a day gives some ten thousand, a month not even three times as many.
_APART = 1 / 4000
_TAIL_BYTES = 65536
_log = logging.getLogger(__name__)


class UsageLog:
    """The samples of one job. Safe to share between threads; only the process that drives the job may add to it."""

    def __init__(self, run_dir: RunDir) -> None:
        """Touches no disk."""
        self._lines = run_dir.path / "usage.jsonl"
        self._table = run_dir.path / "usage.parquet"
        self._summary = run_dir.path / "usage.json"
        self._lock = threading.Lock()
        self._waiting: list[UsageSample] = []
        self._span: tuple[float, float] | None = None  # times of the first and the last sample in the file
        self._closed = False

    def append(self, sample: UsageSample) -> None:
        """Add a sample; one that follows too closely waits for the next and becomes one with it. Does nothing after ``close``."""
        with self._lock:
            if self._closed:
                return
            self._span = self._span or self._read_span() or (sample.time, float("-inf"))
            self._waiting.append(sample)
            began, last = self._span
            if abs(sample.time - last) >= (sample.time - began) * _APART:  # a clock may be set back
                self._write()

    def close(self) -> None:
        """Write what waits; later samples are ignored. May be repeated."""
        with self._lock:
            self._closed = True
            if self._waiting:
                self._write()

    def finish(self) -> dict[str, Any]:
        """Make the Parquet file and return the summary; for a job that has ended. May be repeated; a job without samples has no files.

        Never raises for the disk: a Parquet file that cannot be written now can be made later from the samples, which stay.
        """
        try:
            self.close()
            if self._lines.exists():
                self._replace(self._read())
        except OSError as error:
            _log.warning("%s could not be written: %s", self._table, error)
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """What the job used altogether: readings, seconds, CPU, highest memory and so on, and each GPU's; {} without samples.

        May be asked while ``finish`` runs in another process: the samples go when the summary stands.
        """
        with suppress(FileNotFoundError):
            return summarize(self._read())
        with suppress(FileNotFoundError):
            return dict(json.loads(self._summary.read_bytes()))
        return {}

    # --------------------------------------------------------------------------------------------------------- the samples

    def _write(self) -> None:
        """In one go, at the end of the last whole line."""
        sample, self._waiting = merged(self._waiting), []
        with self._lines.open("ab+") as file:
            _drop_torn_line(file)
            file.write(to_line(sample))
        self._span = (self._span or (sample.time, 0.0))[0], sample.time

    def _read(self) -> list[UsageSample]:
        """Lines that a crash of the host left unreadable are left out."""
        with self._lines.open("rb") as file:
            return [sample for line in file if (sample := from_line(line))]

    def _read_span(self) -> tuple[float, float] | None:
        """Of the file's beginning and end: it may be long."""
        if not self._lines.exists():
            return None
        with self._lines.open("rb") as file:
            head = file.readline()
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            times = [sample.time for line in (head, *file) if (sample := from_line(line))]
        return (times[0], times[-1]) if times else None

    def _replace(self, samples: Sequence[UsageSample]) -> None:
        """The samples go last: a kill in between makes all of it once more."""
        if samples:
            write_atomically(self._summary, json.dumps(summarize(samples), indent=2).encode())
            write_table(samples, self._table)
        self._lines.unlink()


def _drop_torn_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    file.seek(whole)

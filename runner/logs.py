"""Copies a container's output into a file of ours, exactly once, over kills of the runner and power cuts.

Beside ``container.log`` stands its cursor: the engine's place, and our file's size at that place, written in place after each chunk. A copy that
was interrupted cuts the file back to that size and reads the same bytes again (``Engine.read_log`` promises them).

What a killed process wrote, the system keeps: so nothing waits for the disk after each chunk. A power cut may take the end of either file. The
cursor therefore also holds a place up to which the output was once made durable, and where this container's output begins: the first of the
three that our file is long enough for is where the copy goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from contracts.seams import Engine
from runner.run_dir import sync_to_disk, write_atomically

_RECORD_BYTES = 512  # one block of a disk: written whole or not at all
_LOOK_BYTES = 32 * 1024**2
_SMALL_BYTES = 64 * 1024
_DURABLE_EVERY_S = 30.0


class LogCopy:
    """The copy for one container. Only the process that drives the job may have one.

    Holds no file open, and touches no disk before the first copy.
    """

    def __init__(self, engine: Engine, container_id: str, file: Path) -> None:
        self._engine = engine
        self._container_id = container_id
        self._file = file
        self._cursor_file = _cursor_file(file)
        self._is_cut = False
        self._durable_at = time.monotonic()

    @cached_property
    def _places(self) -> _Places:
        return _read_places(self._file)

    @cached_property
    def _found_size(self) -> int:
        """What was there at first, even if the cursor did not say so yet: to read it again is no news."""
        return self._file.stat().st_size if self._file.exists() else 0

    def copy(self) -> int:
        """Copy what is new, at most about 32 MiB; returns its size in bytes. Where there is nothing new it costs the engine's look only."""
        known = max(self._places.now.size, self._found_size)
        self._copy()
        return max(0, self._places.now.size - known)

    def drain(self) -> None:
        """Copy until nothing is new; for a container that has ended. What was copied is on the disk then, not only in memory."""
        while self._copy():
            pass
        if self._file.exists() and self._cursor_file.exists():
            sync_to_disk(self._file, self._cursor_file, self._file.parent)

    def _copy(self) -> bool:
        """Whether there was anything."""
        chunk = self._engine.read_log(self._container_id, self._places.now.cursor)
        if chunk.cursor == self._places.now.cursor:
            return False
        with _open(self._file) as log, _open(self._cursor_file) as record:
            self._cut_back(log)
            end = self._places.now.size + _LOOK_BYTES
            while chunk.cursor != self._places.now.cursor:
                _write(log, chunk.data, self._places.now.size)
                self._places = self._places.moved(_Place(chunk.cursor, self._places.now.size + len(chunk.data)))
                self._make_durable_when_due(log)
                _write(record, self._places.to_bytes(), 0)
                if len(chunk.data) < _SMALL_BYTES or self._places.now.size >= end:
                    break
                chunk = self._engine.read_log(self._container_id, chunk.cursor)
        return True

    def _cut_back(self, log: int) -> None:
        """Only when there is something to put in place of what is cut off: the output of a container that is gone stays as it is."""
        if not self._is_cut:
            os.ftruncate(log, self._places.now.size)
            self._is_cut = True

    def _make_durable_when_due(self, log: int) -> None:
        if time.monotonic() - self._durable_at >= _DURABLE_EVERY_S:
            os.fdatasync(log)
            self._places = self._places.made_durable()
            self._durable_at = time.monotonic()


def begin_anew(file: Path) -> None:
    """The next copy into the file is of another container, whose output follows what is there. May be repeated before that copy begins."""
    if file.exists():
        sync_to_disk(file)
        begin = _Place("", file.stat().st_size)
        write_atomically(_cursor_file(file), _Places(begin, begin, begin).to_bytes())


# --------------------------------------------------------------------------------------------------------------- the cursor


@dataclass(frozen=True)
class _Place:
    """The engine's cursor, and the size of our file there."""

    cursor: str = ""
    size: int = 0


@dataclass(frozen=True)
class _Places:
    """Where the copy is, up to where it is durable, and where the container's output begins."""

    now: _Place
    durable: _Place
    begin: _Place

    def moved(self, place: _Place) -> _Places:
        return _Places(place, self.durable, self.begin)

    def made_durable(self) -> _Places:
        return _Places(self.now, self.now, self.begin)

    def to_bytes(self) -> bytes:
        """Always as long, so that a shorter one leaves nothing of a longer one behind."""
        parts = {name: [place.cursor, place.size] for name, place in vars(self).items()}
        return json.dumps(parts).encode().ljust(_RECORD_BYTES - 1) + b"\n"

    def fitting(self, size: int) -> _Places:
        """Goes on where a file of this size allows it."""
        place = next((place for place in (self.now, self.durable, self.begin) if place.size <= size), _Place("", size))
        return _Places(place, self.durable if self.durable.size <= place.size else place, self.begin)


def _cursor_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.cursor")


def _read_places(file: Path) -> _Places:
    """From the very beginning when there is no cursor, or none that can be read: then a power cut took it."""
    try:
        saved = json.loads(_cursor_file(file).read_bytes())
        places = _Places(*(_Place(*saved[name]) for name in ("now", "durable", "begin")))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        places = _Places(_Place(), _Place(), _Place())
    return places.fitting(file.stat().st_size if file.exists() else 0)


@contextmanager
def _open(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written

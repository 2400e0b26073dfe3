"""Copies a container's output into a file of ours, exactly once, also over a kill of the runner.

Beside ``container.log`` stands its cursor: the engine's place and our file's size at that place, replaced atomically after each chunk.
A copy that was interrupted cuts the file back to that size and reads the same bytes again (``Engine.read_log`` promises them).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from contracts.seams import Engine
from runner.run_dir import write_atomically


class LogCopy:
    """The copy for one container. Only the process that drives the job may have one."""

    def __init__(self, engine: Engine, container_id: str, file: Path) -> None:
        self._engine = engine
        self._container_id = container_id
        self._file = file
        self._cursor_file = file.with_name(f"{file.name}.cursor")
        self._cursor, size = self._resume()
        file.touch()
        os.truncate(file, size)

    def copy(self) -> int:
        """Copy what is new, at most one chunk; returns its size in bytes, 0 when there was nothing."""
        chunk = self._engine.read_log(self._container_id, self._cursor)
        if chunk.cursor == self._cursor:
            return 0
        with self._file.open("ab") as file:
            file.write(chunk.data)
            size = file.tell()
        self._cursor = chunk.cursor
        write_atomically(self._cursor_file, json.dumps({"cursor": chunk.cursor, "size": size}).encode())
        return len(chunk.data)

    def drain(self) -> None:
        """Copy until nothing is new; for a container that has ended."""
        while self.copy():
            pass

    def _resume(self) -> tuple[str, int]:
        try:
            saved = json.loads(self._cursor_file.read_bytes())
        except FileNotFoundError:
            return "", 0
        return saved["cursor"], saved["size"]


def begin_anew(file: Path) -> None:
    """The next copy into the file is of another container, whose output follows what is there. May be repeated before that copy begins."""
    if file.exists():
        write_atomically(file.with_name(f"{file.name}.cursor"), json.dumps({"cursor": "", "size": file.stat().st_size}).encode())

"""A container's output from the engine's own json files: each byte once, and next to nothing for a look that finds nothing new.

A cursor is ``file:<first line>:<offset>``. It names a file by a hash of its first line, because a rotated file changes its name and a deleted
file's inode is soon used again; the line holds a time in nanoseconds, so it is unique.

**Rotation**: the engine keeps five files of 64 MiB. A reader that comes back before its file was dropped misses nothing, and one that reads
on holds its file open. One that comes later goes on at the oldest file that is left, after one line ``[sluice: output was lost here ...]``.
The engine itself replaces bytes that are not UTF-8 by U+FFFD when it stores them, and loses what a container wrote while the engine was down
(seen with 20.10 and live-restore): no reader can bring that back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from contracts.errors import EngineError
from contracts.seams import LogChunk

_CHUNK_BYTES = 512 * 1024  # a chunk ends with the read that fills it: at most twice this
_FIRST_LINE_BYTES = 256 * 1024
_MAX_FILES = 100
_MAX_GAP = 2
_MAX_OPEN = 128
_LOST = b"[sluice: output was lost here: the engine dropped old log files before they were read]\n"


def can_read_files(path: str) -> bool:
    """Whether the engine's files are on this machine and ours to read; the newest may be missing while it is rotated."""
    file = Path(path)
    return bool(path) and (os.access(file, os.R_OK) or (os.access(file.parent, os.R_OK | os.X_OK) and not file.exists()))


class LogFiles:
    """The log files of many containers, each held open where it was read last. May be used by several threads at a time."""

    def __init__(self) -> None:
        self._logs: OrderedDict[str, ContainerLog] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, container_id: str, cursor: str) -> LogChunk | None:
        """What is new since the cursor; None when it is not known (any more) where the container's files are."""
        with self._lock:
            log = self._logs.pop(container_id, None)  # nobody else uses it meanwhile; another thread would open its own
        return self._read(container_id, log, cursor) if log else None

    def open(self, container_id: str, path: Path, cursor: str) -> LogChunk:
        """As ``read``, with ``path`` as the container's newest file from now on."""
        return self._read(container_id, ContainerLog(path), cursor) or LogChunk(b"", cursor)

    def _read(self, container_id: str, log: ContainerLog, cursor: str) -> LogChunk | None:
        try:
            chunk = log.read(cursor)
        except FileNotFoundError:  # the container was removed
            log.close()
            return None
        except BaseException:
            log.close()
            raise
        self._keep(container_id, log)
        return chunk

    def _keep(self, container_id: str, log: ContainerLog) -> None:
        with self._lock:
            surplus = [self._logs.pop(container_id, None)]
            self._logs[container_id] = log
            surplus += [self._logs.popitem(last=False)[1]] if len(self._logs) > _MAX_OPEN else []
        for other in filter(None, surplus):
            other.close()

    def forget(self, container_id: str) -> None:
        with self._lock:
            log = self._logs.pop(container_id, None)
        if log:
            log.close()

    def close(self) -> None:
        with self._lock:
            logs, self._logs = self._logs, OrderedDict()
        for log in logs.values():
            log.close()


class ContainerLog:
    """The files of one container: ``path`` and its rotated forerunners ``path.1``, ``path.2``, ... For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _LogFile | None = None  # the one that was read last
        self._offset = 0

    def read(self, cursor: str) -> LogChunk:
        """At most about 1 MiB. Raises ``FileNotFoundError`` when the folder of the files is gone."""
        file, data = self._file, bytearray()
        if file is not None and cursor == file.cursor(self._offset):
            newest = self._newest()
            if newest == (file.identity, self._offset):
                return LogChunk(b"", cursor)
            self._offset = _read_lines(file, self._offset, data)
            cursor = file.cursor(self._offset)
            if len(data) >= _CHUNK_BYTES or (newest and newest[0] == file.identity):
                return LogChunk(bytes(data), cursor)
        return self._search(cursor, data)

    def _newest(self) -> tuple[tuple[int, int], int] | None:
        """Identity and size of the newest file; None while it is rotated and missing for a moment."""
        try:
            facts = os.stat(self._path)  # noqa: PTH116 - half the cost of Path.stat, and this is the look of an idle log
        except FileNotFoundError:
            self._path.parent.stat()
            return None
        return (facts.st_dev, facts.st_ino), facts.st_size

    def _search(self, cursor: str, data: bytearray) -> LogChunk:
        """Goes on at the cursor in whichever file it is, and through the newer ones."""
        if not cursor and self._is_unwritten():
            return LogChunk(b"", cursor)
        key, offset = _place(cursor)
        files = _open_files(self._path)
        position = next((index for index, file in enumerate(files) if file.key == key), None) if key else 0
        if position is None:  # also when a container was made anew under an old cursor: nobody does that
            position, offset = 0, 0
            data += _LOST if files and files[0].key else b""
        reached = None
        for file in files[position:]:
            offset = _read_lines(file, offset, data)
            reached = (file, offset) if offset else reached
            if len(data) >= _CHUNK_BYTES:
                break
            offset = 0
        return LogChunk(bytes(data), self._go_on_from(reached, files) or cursor)

    def _go_on_from(self, reached: tuple[_LogFile, int] | None, opened: list[_LogFile]) -> str:
        """Keeps the file that was reached and closes the others; returns the cursor there, '' when none was."""
        for file in [*opened, *([self._file] if self._file and reached else [])]:
            if not reached or file is not reached[0]:
                file.close()
        if not reached:
            return ""
        self._file, self._offset = reached
        return self._file.cursor(self._offset)

    def _is_unwritten(self) -> bool:
        newest = self._newest()
        return (newest is None or newest[1] == 0) and not _numbered(self._path, 1).exists()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


# ---------------------------------------------------------------------------------------------------------------- files


class _LogFile:
    """One of the engine's files, open."""

    def __init__(self, descriptor: int) -> None:
        facts = os.fstat(descriptor)
        self.descriptor = descriptor
        self.identity = (facts.st_dev, facts.st_ino)
        self._key = ""

    @property
    def key(self) -> str:
        """'' until its first line is complete: that may be at any moment, also after it was opened and before it is read."""
        if not self._key:
            line, newline, _ = os.pread(self.descriptor, _FIRST_LINE_BYTES, 0).partition(b"\n")
            self._key = hashlib.sha256(line + newline).hexdigest()[:16] if newline else ""
        return self._key

    def cursor(self, offset: int) -> str:
        return f"file:{self.key}:{offset}"

    def close(self) -> None:
        os.close(self.descriptor)


def _place(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "", 0
    kind, key, offset = cursor.split(":")
    if kind != "file":
        raise EngineError(
            f"the log was read over the API before (cursor {cursor}), and its files are read now",
            hint="Let the same user read on: cursors of the two ways cannot be changed into each other.",
        )
    return key, int(offset)


def _open_files(path: Path) -> list[_LogFile]:
    """Oldest first. They are opened newest first, so that a rotation meanwhile shows a file twice instead of not at all.

    A rotation renames them one by one, so that at any moment one name may be missing.
    """
    found: dict[tuple[int, int], _LogFile] = {}
    missing = 0
    for number in range(_MAX_FILES):
        try:
            descriptor = os.open(_numbered(path, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            missing += 1
            if missing > _MAX_GAP:
                break
            continue
        missing = 0
        file = _LogFile(descriptor)
        if file.identity in found:
            file.close()
        found.setdefault(file.identity, file)
    return list(found.values())[::-1]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


# ---------------------------------------------------------------------------------------------------------------- lines


def _read_lines(file: _LogFile, offset: int, data: bytearray) -> int:
    """Appends the output in whole lines from the offset until about one chunk is full or nothing is left; returns the offset after them."""
    while len(data) < _CHUNK_BYTES:
        raw = os.pread(file.descriptor, _CHUNK_BYTES, offset)
        whole = raw[: raw.rfind(b"\n") + 1]
        if not whole:  # the end, or a line that is still being written (or never will be, in a rotated file)
            break
        data += output_of(whole)
        offset += len(whole)
    return offset


#: The end of one entry and the beginning of the next. Inside an output every quote has a backslash before it, so it cannot look like this.
_BETWEEN = re.compile(rb'\\n","stream":"std(?:out|err)","time":"[^"\\]*"\}\n(?:\{"log":"|\Z)')
_BEFORE = b'{"log":"'


def output_of(lines: bytes) -> bytes:
    """The output inside json lines. Entries that the engine split for their length join by themselves: only the last has a newline."""
    parts = _BETWEEN.split(lines)
    if len(parts) == lines.count(b"\n") + 1 and parts[0].startswith(_BEFORE):
        with suppress(ValueError):  # an entry that a crash has torn
            return _joined(parts)
    return b"".join([_output_of_one(row) for row in lines.split(b"\n")[:-1]])


def _joined(parts: list[bytes]) -> bytes:
    """All at once, an order of magnitude faster than line by line: most output has nothing in it that JSON must escape but ends of lines."""
    output = b"\n".join(parts)[len(_BEFORE) :]
    if b"\\" not in output and b'"' not in output:
        return output
    escaped = b"\\n".join(parts)[len(_BEFORE) :]
    decoded: str = json.loads(b'"%s"' % escaped)
    return decoded.encode("utf-8", "replace")


def _output_of_one(row: bytes) -> bytes:
    """The output of one entry; nothing for one that a crash of the machine or the engine has torn."""
    try:
        return str(json.loads(row.strip(b"\0"))["log"]).encode("utf-8", "replace")
    except (ValueError, TypeError, KeyError):
        return b""

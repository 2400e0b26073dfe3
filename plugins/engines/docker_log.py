"""A container's output in pieces, each byte once: from the engine's own json files where they can be read, else over its API.

A cursor is ``file:<first line>:<offset>`` or ``api:<since>:<count>``. The first names a file by a hash of its first line, because a
rotated file changes its name and a deleted file's inode is soon used again; the line holds a time in nanoseconds, so it is unique. The second
says how many entries not older than ``since`` were given out.

**Rotation**: the engine keeps five files of 64 MiB. A reader that comes back before its file was dropped misses nothing. One that comes later
goes on at the oldest file that is left, after one line ``[sluice: output was lost here ...]``; over the API such a loss cannot be seen.
The engine itself replaces bytes that are not UTF-8 by U+FFFD when it stores them, and loses what a container wrote while the engine was down
(seen with 20.10 and live-restore): no reader can bring that back.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contracts.errors import EngineError
from contracts.seams import LogChunk
from plugins.engines.docker_status import unix_ns

_CHUNK_BYTES = 512 * 1024  # a chunk ends with the read that fills it: at most twice this
_MAX_FILES = 100
_LOST = b"[sluice: output was lost here: the engine dropped old log files before they were read]\n"
_FRAME = struct.Struct(">BxxxL")
#: Entries of stdout and stderr may be stored this much out of the order of their times: they are stamped before they queue to be written.
_DISORDER_NS = 200_000_000
_API_CHUNK_BYTES = 1024 * 1024
_MAX_KEPT = 8


# --------------------------------------------------------------------------------------------------------------- files


@dataclass
class _LogFile:
    """One of the engine's files, open; ``key`` is '' until its first line is complete."""

    file: BinaryIO
    key: str


def can_read_files(path: str) -> bool:
    """Whether the engine's files are on this machine and ours to read; the newest may be missing while it is rotated."""
    file = Path(path)
    return bool(path) and (os.access(file, os.R_OK) or (os.access(file.parent, os.R_OK | os.X_OK) and not file.exists()))


def read_files(path: Path, cursor: str) -> LogChunk:
    """What the json file at ``path`` and its rotated forerunners hold after the cursor."""
    key, offset = _file_place(cursor)
    with ExitStack() as stack:
        files = _open_files(path, stack)
        position = next((index for index, file in enumerate(files) if file.key == key), None) if key else 0
        if position is None:  # also when a container was made anew under an old cursor: nobody does that
            return _read_from(files, 0, cursor, bytearray(_LOST)) if files and files[0].key else LogChunk(b"", cursor)
        if not files:
            return LogChunk(b"", cursor)
        files[position].file.seek(offset)
        return _read_from(files, position, cursor, bytearray())


def _file_place(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "", 0
    kind, key, offset = cursor.split(":")
    if kind != "file":
        raise EngineError(
            f"the log was read over the API before (cursor {cursor}), and its files are read now",
            hint="Let the same user read on: cursors of the two ways cannot be changed into each other.",
        )
    return key, int(offset)


def _open_files(path: Path, stack: ExitStack) -> list[_LogFile]:
    """Oldest first. They are opened newest first, so that a rotation meanwhile shows a file twice instead of not at all."""
    found: list[_LogFile] = []
    seen: set[tuple[int, int]] = set()
    for number in range(_MAX_FILES):
        try:
            file = stack.enter_context((path.with_name(f"{path.name}.{number}") if number else path).open("rb"))
        except FileNotFoundError:
            if number:  # the newest is missing for a moment while it is rotated
                break
            continue
        facts = os.fstat(file.fileno())
        if (facts.st_dev, facts.st_ino) not in seen:
            seen.add((facts.st_dev, facts.st_ino))
            found.append(_LogFile(file, _key_of(file)))
    return found[::-1]


def _key_of(file: BinaryIO) -> str:
    line = file.readline()
    file.seek(0)
    return hashlib.sha256(line).hexdigest()[:16] if line.endswith(b"\n") else ""


def _read_from(files: list[_LogFile], position: int, cursor: str, data: bytearray) -> LogChunk:
    """Whole lines from the place that ``files[position]`` stands at, on through the newer files, until about one chunk is full."""
    for file in files[position:]:
        while len(data) < _CHUNK_BYTES:
            start = file.file.tell()
            raw = file.file.read(_CHUNK_BYTES)
            whole = raw[: raw.rfind(b"\n") + 1]
            if not whole:  # the end, or a line that is still being written (or never will be, in a rotated file)
                break
            data += _decoded(whole)
            cursor = f"file:{file.key}:{start + len(whole)}"
            file.file.seek(start + len(whole))
        if len(data) >= _CHUNK_BYTES:
            break
    return LogChunk(bytes(data), cursor)


def _decoded(lines: bytes) -> bytes:
    """The output inside json lines. Entries that the engine split for their length join by themselves: only the last has a newline."""
    rows = lines.split(b"\n")[:-1]
    try:
        text = "".join([entry["log"] for entry in json.loads(b"[" + b",".join(rows) + b"]")])
    except (ValueError, TypeError, KeyError):
        text = "".join([_text(row) for row in rows])
    return text.encode("utf-8", "replace")


def _text(row: bytes) -> str:
    """The output of one entry; '' for one that a crash of the machine or the engine has torn."""
    try:
        return str(json.loads(row.strip(b"\0"))["log"])
    except (ValueError, TypeError, KeyError):
        return ""


# ----------------------------------------------------------------------------------------------------------------- API


class ApiReader:
    """Reads over the API. ``open_stream(container id, since)`` gives the multiplexed stream with time stamps, from that time on.

    Each request makes the engine look through its files from the beginning. A stream that has more than one chunk is therefore kept for the
    next call, which usually follows at once; without it (another process, the same cursor again) the request is made anew, to the same end.
    """

    def __init__(self, open_stream: Callable[[str, str], Iterator[bytes]]) -> None:
        self._open_stream = open_stream
        self._kept: dict[tuple[str, str], _Pass] = {}
        self._lock = threading.Lock()

    def read(self, container_id: str, cursor: str) -> LogChunk:
        with self._lock:
            reading = self._kept.pop((container_id, cursor), None)
        data = reading.read() if reading else b""
        if reading is None or not data:  # a kept stream knows nothing of what was written after its request
            since, skip = _api_place(cursor)
            reading = _Pass(self._open_stream(container_id, _seconds(since)), since, skip)
            data = reading.read()
        if not reading.ended:
            self._keep((container_id, reading.cursor), reading)
        return LogChunk(data, reading.cursor if data else cursor)

    def _keep(self, place: tuple[str, str], reading: _Pass) -> None:
        with self._lock:
            self._kept[place] = reading
            dropped = self._kept.pop(next(iter(self._kept))) if len(self._kept) > _MAX_KEPT else None
        if dropped:
            dropped.close()

    def close(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, {}
        for reading in kept.values():
            reading.close()


class _Pass:
    """One stream on its way: gives it out chunk by chunk and knows the cursor after each."""

    def __init__(self, chunks: Iterator[bytes], since: int, skip: int) -> None:
        self._chunks = chunks
        self._entries = _entries(chunks)
        self._since = since
        self._skip = skip
        self._times: list[int] = []  # of every entry not older than ``since`` up to here, those that were skipped included
        self.ended = False

    @property
    def cursor(self) -> str:
        return f"api:{self._since}:{len(self._times)}"

    def read(self) -> bytes:
        data = bytearray()
        while len(data) < _API_CHUNK_BYTES and not self.ended:
            time_ns, content = next(self._entries, (-1, b""))
            if time_ns < 0:
                self.ended = True
                break
            self._times.append(time_ns)
            if self._skip:
                self._skip -= 1
            else:
                data += content
        if data:
            self._since = max(self._since, max(self._times) - _DISORDER_NS)
            self._times = [time_ns for time_ns in self._times if time_ns >= self._since]
        return bytes(data)

    def close(self) -> None:
        self._entries.close()


def _api_place(cursor: str) -> tuple[int, int]:
    if not cursor:
        return 0, 0
    kind, since, count = cursor.split(":")
    if kind != "api":
        raise EngineError(
            f"the log was read from the engine's files before (cursor {cursor}), and they cannot be read now",
            hint="Run as the user that read them before.",
        )
    return int(since), int(count)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def _entries(chunks: Iterator[bytes]) -> Generator[tuple[int, bytes], None, None]:
    """``(time in Unix nanoseconds, content)`` of every frame; an entry that was split for its length has a frame for each part."""
    for payload in _frames(chunks):
        stamp, _, content = payload.partition(b" ")
        yield max(0, unix_ns(stamp.decode("ascii", "replace"))), content


def _frames(chunks: Iterator[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _FRAME.size:
            end = _FRAME.size + _FRAME.unpack_from(waiting)[1]
            if len(waiting) < end:
                break
            yield bytes(waiting[_FRAME.size : end])
            del waiting[:end]

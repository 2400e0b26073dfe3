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
from collections.abc import Callable, Iterator
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
#: Entries of stdout and stderr may be stored this much out of the order of their times.
_DISORDER_NS = 2_000_000_000


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


def read_api(open_stream: Callable[[str], Iterator[bytes]], cursor: str) -> LogChunk:
    """What the API tells after the cursor. ``open_stream(since)`` gives the multiplexed stream with time stamps, from that time on."""
    since, skip = _api_place(cursor)
    data = bytearray()
    times: list[int] = []  # of every entry up to the end of this chunk, those that were skipped included
    for number, (time_ns, content) in enumerate(_entries(open_stream(_seconds(since)))):
        times.append(time_ns)
        if number >= skip:
            data += content
            if len(data) >= _CHUNK_BYTES:
                break
    if len(times) <= skip:
        return LogChunk(b"", cursor)
    later = max(since, max(times) - _DISORDER_NS)
    return LogChunk(bytes(data), f"api:{later}:{sum(time_ns >= later for time_ns in times)}")


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


def _entries(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """``(time in Unix nanoseconds, content)`` of every frame; an entry that was split for its length has a frame for each part."""
    for payload in _frames(chunks):
        stamp, _, content = payload.partition(b" ")
        yield unix_ns(stamp.decode("ascii", "replace")), content


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

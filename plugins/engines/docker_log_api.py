"""A container's output over the engine's API, for an engine whose log files cannot be read: each byte once.

A cursor is ``api:<since>:<count>``: how many entries not older than ``since`` were given out. Over the API it cannot be seen that the engine
dropped old output before it was read.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Generator, Iterator

from contracts.errors import EngineError
from contracts.seams import LogChunk
from plugins.engines.docker_status import unix_ns

_FRAME = struct.Struct(">BxxxL")
#: Entries of stdout and stderr may be stored this much out of the order of their times: they are stamped before they queue to be written.
_DISORDER_NS = 200_000_000
_API_CHUNK_BYTES = 1024 * 1024
_MAX_KEPT = 8


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

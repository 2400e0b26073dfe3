"""A lean line to the engine's local socket: HTTP/1.1 over connections that stay open, with answers that may be read as they come.

A job makes half a dozen calls. The SDK spends about a millisecond of processor time on each, this a twentieth of that; and a stream can be
waited for with a time-out, which neither the SDK nor ``http.client`` can do.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType

_MAX_IDLE = 16
_MAX_HEAD_BYTES = 1024 * 1024
_RECEIVE_BYTES = 256 * 1024


class Refused(Exception):  # noqa: N818 - what the engine said, not yet what it means here
    """The engine answered with an error status (400 and above), in its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class NoAnswer(ConnectionError):  # noqa: N818
    """The engine could not be reached, broke off, or took too long; the cause says which."""


class NotAsked(Exception):  # noqa: N818
    """The question could not be put: a build that cannot be packed, a certificate that cannot be read, a credential helper that failed."""


class Answer(ABC):
    """An answer whose head was read. To be closed; as a context manager it closes itself."""

    status: int
    headers: Mapping[str, str]  # by names in lower case

    @abstractmethod
    def piece(self) -> bytes:
        """The next piece of the body, as soon as there is one; b"" at its end. Raises ``NoAnswer``."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Whether ``piece`` has something to say now, or within that time. May be called by another thread than the reader's."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it, however much of the body was read. May be repeated."""

    def pieces(self) -> Iterator[bytes]:
        while piece := self.piece():
            yield piece

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Transport(ABC):
    """A way to the engine. May be used by several threads at a time."""

    @abstractmethod
    def open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float, read_timeout_s: float | None
    ) -> Answer:
        """Ask; returns when the head of the answer is there, at most after ``timeout_s``, whatever its status is.

        ``read_timeout_s`` is how long the body may be silent; None: for ever. Raises ``NoAnswer``.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what is idle; the next call connects again."""


class SocketTransport(Transport):
    """Connections to one local socket, each used by one thread at a time and kept for the next."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: deque[_Connection] = deque()
        self._process = os.getpid()
        weakref.finalize(self, _close_all, self._idle)

    def open(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float, read_timeout_s: float | None
    ) -> Answer:
        request = _request(method, target, headers, body)
        connection, used = self._take(timeout_s)
        try:
            return self._ask(connection, request, timeout_s, read_timeout_s)
        except NoAnswer as error:
            # The engine closed a connection that had been idle. Only a question may be asked twice: a start must not be.
            if not used or method != "GET" or connection.received or isinstance(error.__cause__, TimeoutError):
                raise
        return self._ask(_Connection(self._path, timeout_s), request, timeout_s, read_timeout_s)

    def _ask(self, connection: _Connection, request: bytes, timeout_s: float, read_timeout_s: float | None) -> Answer:
        try:
            connection.send(request, timeout_s)
            status, headers = connection.read_head()
            connection.set_timeout(read_timeout_s)
        except BaseException:
            connection.close()
            raise
        return _SocketAnswer(connection, status, headers, self._give_back)

    def _take(self, timeout_s: float) -> tuple[_Connection, bool]:
        """A connection, and whether it was used before."""
        if self._process != os.getpid():  # after a fork the connections are the parent's
            _close_all(self._idle)
            self._process = os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return _Connection(self._path, timeout_s), False
            if connection.is_quiet():
                return connection, True
            connection.close()

    def _give_back(self, connection: _Connection, keeps: bool) -> None:
        if keeps and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        _close_all(self._idle)


def _close_all(idle: deque[_Connection]) -> None:
    with suppress(IndexError):
        while True:
            idle.pop().close()


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", "User-Agent: sluice", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


# ---------------------------------------------------------------------------------------------------------- connections


class _Connection:
    """One socket with what was received and not yet given out."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        self.received = False  # whether any byte of the present answer came
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NoAnswer(f"connect to {path}") from error

    def send(self, request: bytes, timeout_s: float) -> None:
        self.received = False
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(request)
        except OSError as error:
            raise NoAnswer("send the request") from error

    def read_head(self) -> tuple[int, dict[str, str]]:
        head, _, self._rest = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        try:
            return int(first.split(" ", 2)[1]), {name.strip().lower(): value.strip() for name, _, value in fields}
        except (IndexError, ValueError) as error:
            raise NoAnswer(f"what answered does not speak HTTP: {first[:60]!r}") from error

    def line(self) -> bytes:
        line, _, self._rest = self._until(b"\r\n").partition(b"\r\n")
        return line

    def _until(self, mark: bytes) -> bytes:
        """What was received, at least up to the mark."""
        while mark not in self._rest:
            if len(self._rest) > _MAX_HEAD_BYTES:
                raise NoAnswer("the head of the answer is too long")
            self._rest += self._receive()
        return self._rest

    def some(self, most: int) -> bytes:
        """At least one byte, at most that many."""
        received = self._rest or self._receive()
        data, self._rest = received[:most], received[most:]
        return data

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            raise NoAnswer("wait for the answer") from error
        if not data:
            raise NoAnswer("the engine broke off") from ConnectionResetError(errno.ECONNRESET, "the connection was closed")
        self.received = True
        return data

    def is_quiet(self) -> bool:
        """Whether the other side neither closed it nor said anything that was not asked for."""
        return not self._rest and not self.poll(0.0)

    def poll(self, seconds: float) -> bool:
        if self._rest:
            return True
        try:
            poll = select.poll()
            poll.register(self._socket.fileno(), select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        except (OSError, ValueError):  # closed by another thread
            return True

    def set_timeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def break_off(self) -> None:
        """Wakes a thread that waits for the answer, too."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close(self) -> None:
        self._socket.close()  # no shutdown: a forked parent may go on using it


class _SocketAnswer(Answer):
    def __init__(
        self, connection: _Connection, status: int, headers: Mapping[str, str], give_back: Callable[[_Connection, bool], None]
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._body = _body(connection, status, headers)
        self._give_back: Callable[[_Connection, bool], None] | None = give_back

    def piece(self) -> bytes:
        piece = next(self._body, b"")
        if not piece and self._give_back:
            give_back, self._give_back = self._give_back, None
            give_back(self._connection, self.headers.get("connection", "").lower() != "close")
        return piece

    def wait(self, seconds: float) -> bool:
        return self._connection.poll(seconds)

    def close(self) -> None:
        if self._give_back:
            self._give_back = None
            self._connection.break_off()


def _body(connection: _Connection, status: int, headers: Mapping[str, str]) -> Iterator[bytes]:
    if status in (204, 304):
        return
    if headers.get("transfer-encoding", "").lower() == "chunked":
        yield from _chunks(connection)
    else:
        yield from _exactly(connection, int(headers.get("content-length", 0)))


def _exactly(connection: _Connection, size: int) -> Iterator[bytes]:
    while size:
        data = connection.some(size)
        size -= len(data)
        yield data


def _chunks(connection: _Connection) -> Iterator[bytes]:
    while size := _chunk_size(connection.line()):
        while size:
            data = connection.some(size)
            size -= len(data)
            if not size:  # read with the last of the data: what is left to wait for then is the next chunk
                connection.line()
            yield data
    connection.line()


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise NoAnswer(f"what answered does not speak HTTP: {line[:60]!r}") from error

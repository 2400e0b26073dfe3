"""A unix socket before the engine's, which can be cut and mended."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

_PIECE = 1 << 16


class SocketProxy:
    """Passes bytes both ways between ``path``, which it makes, and the socket ``target``."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._mute: list[socket.socket] = []
        self._is_mute = False
        self._listener: socket.socket | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept_for_ever, args=(listener,), name="proxy", daemon=True).start()

    def cut(self, *, mute: bool) -> None:
        """Drops what is open. ``mute``: new connections are taken and never answered, otherwise they are refused."""
        self._is_mute = mute
        if not mute:
            self._close_listener()
        with self._lock:
            open_now, self._pairs = list(self._pairs), set()
        for pair in open_now:
            for end in pair:
                _shut(end)

    def mend(self) -> None:
        """What was taken and not answered is dropped."""
        self._is_mute = False
        self._drop_mute()
        if self._listener is None:
            self.start()

    def close(self) -> None:
        self.cut(mute=False)
        self._drop_mute()

    def _drop_mute(self) -> None:
        with self._lock:
            waiting, self._mute = self._mute, []
        for end in waiting:
            _shut(end)
            end.close()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            _shut(listener)
            listener.close()
            self.path.unlink(missing_ok=True)

    def _accept_for_ever(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                if self._is_mute:
                    with self._lock:
                        self._mute.append(client)
                else:
                    self._join(client)

    def _join(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        if engine.connect_ex(str(self._target)):
            engine.close()
            client.close()
            return
        pair = (client, engine)
        with self._lock:
            self._pairs.add(pair)
        ended = threading.Semaphore(0)
        for source, sink in (pair, pair[::-1]):
            threading.Thread(target=_pass_on, args=(source, sink, ended), daemon=True).start()
        threading.Thread(target=self._close_when_ended, args=(pair, ended), daemon=True).start()

    def _close_when_ended(self, pair: tuple[socket.socket, socket.socket], ended: threading.Semaphore) -> None:
        for _ in pair:
            ended.acquire()
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            end.close()


def _pass_on(source: socket.socket, sink: socket.socket, ended: threading.Semaphore) -> None:
    """Until the source ends; the other way may go on."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    ended.release()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)

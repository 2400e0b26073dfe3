"""A line to the real engine that can be cut: a socket of ours in front of the engine's own, local or TCP."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")


class Line:
    """``host`` is what DOCKER_HOST has to be. Open from the start; ``cut`` ends every connection, new ones are taken on."""

    def __init__(self, folder: Path, *, tcp: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0)) if tcp else socket.socket(socket.AF_UNIX)
        if tcp:
            self.host = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener.bind(str(folder / "engine.sock"))
            self._listener.listen()
            self.host = f"unix://{folder}/engine.sock"
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def _run(self, action, *arguments) -> None:
        thread = threading.Thread(target=action, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(ENGINE)
                self._ends += [near, far]
                self._run(_forward, near, far)
                self._run(_forward, far, near)

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()

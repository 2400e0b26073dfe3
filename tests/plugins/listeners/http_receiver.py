"""An HTTP server that takes what a webhook sends."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpReceiver:
    """Answers as the test chooses: ``status`` and ``headers``, or ``on_request``, which gets the delivery id and gives the status.

    ``requests`` are the headers and bodies of all that came, ``taken`` the ids of what it took.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[str] = []
        self.status, self.headers, self.silent = 200, {}, False  # type: tuple[int, dict[str, str], bool]
        self.on_request: Callable[[str], int] | None = None
        self._tls, self._port = tls, port
        self._released = threading.Event()
        self._open()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self._port}/hooks/path-secret?team=a"

    def delivery_ids(self) -> list[str]:
        return self.taken

    def answer(self, how: str) -> None:
        self.close() if how == "away" else self._open()
        self.silent = how == "silent"
        self.status = {"take": 204, "later": 503, "never": 404}.get(how, 200)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.requests.append((headers, body))
        if self.silent:
            self._released.wait(60)
        delivery = headers["Sluice-Delivery"]
        status = self.on_request(delivery) if self.on_request else self.status
        if status < 300 and not self.silent:
            self.taken.append(delivery)
        return status

    def _open(self) -> None:
        if self._port and getattr(self, "_server", None):
            return
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status = receiver.take(dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self) -> None:  # where a client that follows a redirect would come
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()

    def close(self) -> None:
        self._released.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

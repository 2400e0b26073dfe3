"""A real S3 server for tests, and a proxy before it on which requests fail as a test says.

The server is moto's (``moto_server``, of the moto project) in a process of its own, spoken to over HTTP. It does not check signatures, so who may not do
something is a fault of the proxy.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from contracts.connection import Connection, Secret

KEY, SECRET = "AKIASLUICETEST", "a-secret-that-must-never-be-seen"
_COUNT = itertools.count()
_START_S = 60.0


@dataclass(frozen=True)
class S3Server:
    port: int

    @classmethod
    @contextmanager
    def started(cls, log: Path) -> Iterator[S3Server]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                _wait_for(port, process, log)
                yield cls(port)
            finally:
                process.kill()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> Any:
        return client(self.endpoint)

    def new_bucket(self, files: dict[str, bytes] | None = None) -> str:
        """An empty bucket of its own, with these objects."""
        name = f"bucket-{next(_COUNT)}"
        made = self.client
        made.create_bucket(Bucket=name)
        for key, content in (files or {}).items():
            made.put_object(Bucket=name, Key=key, Body=content)
        return name


def client(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)


def connection_to(endpoint: str, **changes: str) -> Connection:
    facts = {"name": "test", "endpoint": endpoint, "region": "us-east-1", "access_key": KEY, "addressing": "path", **changes}
    return Connection(**facts, secret=Secret(SECRET))  # type: ignore[arg-type]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise RuntimeError(f"moto's server does not answer:\n{log.read_text()}")


# ------------------------------------------------------------------------------------------------------------------- faults


@dataclass
class Fault:
    """What happens to requests of a method whose path holds a text: the first ``times`` of them, after the first ``after``."""

    method: str
    text: str
    happens: Callable[[BaseHTTPRequestHandler, Answer], None]
    times: int = 10**9
    after: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if method != self.method or self.text not in path:
            return False
        self.after -= 1
        if self.after >= 0:
            return False
        self.times -= 1
        return self.times >= 0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass
class FaultyProxy:
    """``requests``: method and path of all that came."""

    port: int
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def before(cls, server_port: int) -> Iterator[FaultyProxy]:
        proxy = cls(0)
        http_server = _Server(("127.0.0.1", 0), _handler(proxy, server_port))
        proxy.port = http_server.server_port
        thread = threading.Thread(target=http_server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            http_server.shutdown()
            thread.join()
            http_server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, text: str, happens: Callable[..., None], **when: int) -> None:
        self.faults.append(Fault(method, text, happens, **when))

    def find(self, method: str, path: str) -> Fault | None:
        self.requests.append((method, path))
        return next((fault for fault in self.faults if fault.strikes(method, path)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news."""


def _handler(proxy: FaultyProxy, server_port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.find(self.command, self.path)
            if fault and getattr(fault.happens, "instead", False):
                fault.happens(self, Answer(0, [], b""))
                return
            upstream = http.client.HTTPConnection("127.0.0.1", server_port, timeout=30)
            try:
                upstream.request(self.command, self.path, body, dict(self.headers.items()))
                got = upstream.getresponse()
                answer = Answer(got.status, got.getheaders(), got.read())
            finally:
                upstream.close()
            (fault.happens if fault else as_it_is)(self, answer)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    for method in ("GET", "PUT", "HEAD", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.pass_on)
    return Handler


def as_it_is(handler: BaseHTTPRequestHandler, answer: Answer, body: bytes | None = None, promised: int | None = None) -> None:
    """``body``: instead of the true one; ``promised``: the length that the header says."""
    content = answer.body if body is None else body
    handler.send_response(answer.status)
    headers = [(name, value) for name, value in answer.headers if name.lower() not in ("connection", "transfer-encoding", "date", "server")]
    for name, value in headers:
        if name.lower() != "content-length":
            handler.send_header(name, value)
    length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
    handler.send_header("Content-Length", length if promised is None and handler.command == "HEAD" else str(promised or len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)


def says(status: int, code: str) -> Callable[..., None]:
    """Answers with an error of S3, and the server never hears of it."""

    def happens(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>said the proxy</Message></Error>'.encode()
        as_it_is(handler, Answer(status, [("Content-Type", "application/xml")], body))

    happens.instead = True  # type: ignore[attr-defined]
    return happens


def cuts_off(after_bytes: int) -> Callable[..., None]:
    """Promises everything and closes the line in the middle."""

    def happens(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.close_connection = True
        as_it_is(handler, answer, answer.body[:after_bytes], len(answer.body))

    return happens


def damages(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """One bit is another one."""
    as_it_is(handler, answer, answer.body[:-1] + bytes([answer.body[-1] ^ 1]))


def truncates(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """A shorter body, with the length of the shorter body."""
    as_it_is(handler, answer, answer.body[: len(answer.body) // 2])


def sleeps(seconds: float) -> Callable[..., None]:
    def happens(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        time.sleep(seconds)
        with suppress(OSError):
            as_it_is(handler, answer)

    return happens


def closes(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """No answer at all."""
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)

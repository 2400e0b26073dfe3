"""Models by address, from a real HTTP server on this machine that behaves as servers do."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from contracts.errors import RequestError, SluiceError, UnavailableError
from runner.model_download import download, without_secrets
from runner.service import Runner
from runner.settings import load_settings
from tests.runner.models.test_import import codes, package

WEIGHTS = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """By the path: what a server may answer."""

    package: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name == "gone":
            self.send_error(404)
        elif name.startswith("to-"):
            self.send_response(302)
            targets = {"to-weights": "/best.pt", "to-file": "file:///etc/passwd", "to-itself": "/to-itself", "to-ftp": "ftp://localhost/x"}
            self.send_header("Location", targets[name])
            self.end_headers()
        else:
            self._send(name)

    def _send(self, name: str) -> None:
        content = self.package if name == "model.tar.gz" else WEIGHTS
        self.send_response(200)
        if name != "endless":
            self.send_header("Content-Length", str(len(content) + (1000 if name == "cut" else 0)))
        self.end_headers()
        try:
            for _ in range(10_000 if name == "endless" else 1):
                self.wfile.write(content)
        except OSError:  # the reader has had enough
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(server: ThreadingHTTPServer, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def fetch(url: str, folder: Path, **limits: Any) -> Path:
    return download(url, folder, **{"largest_bytes": 10**6, "timeout_s": 60.0, "on_progress": lambda *_: None, **limits})


def test_a_file_arrives_whole_under_its_own_name(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    file = fetch(address(server, "a%20b/best.pt?token=secret"), tmp_path, on_progress=lambda *counts: seen.append(counts))
    assert (file.name, file.read_bytes(), seen[-1]) == ("best.pt", WEIGHTS, (len(WEIGHTS), len(WEIGHTS)))
    (tmp_path / "other").mkdir()
    assert fetch(address(server, "to-weights"), tmp_path / "other").name == "best.pt"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("gone", UnavailableError, "404"),
        ("cut", UnavailableError, "broke off after 256,000 of 257,000 bytes"),
        ("endless", RequestError, "larger than 1,000,000 bytes"),
        ("to-file", UnavailableError, "is not allowed"),
        ("to-ftp", UnavailableError, "not encrypted"),
        ("to-itself", UnavailableError, "answered 302"),
    ],
)
def test_a_server_that_does_not_deliver_is_named(
    server: ThreadingHTTPServer, tmp_path: Path, name: str, kind: type[SluiceError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        fetch(address(server, name), tmp_path)


def test_a_file_that_is_announced_too_large_is_not_begun(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="larger than 1,000 bytes"):
        fetch(address(server, "best.pt"), tmp_path, largest_bytes=1000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnavailableError, match="too slow"):
        fetch(address(server, "endless"), tmp_path, largest_bytes=10**12, timeout_s=0.0)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "https://", "http://host/a b", "http://[bad/x", "best.pt", "http://h/\n"]
)
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        fetch(url, tmp_path)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
    ]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with pytest.raises(UnavailableError, match="its certificate is not trusted"):
                fetch(f"https://127.0.0.1:{server.server_port}/best.pt", tmp_path)
        finally:
            server.shutdown()
            thread.join()


def test_a_model_is_imported_by_its_address_and_the_record_keeps_no_secret(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    Handler.package = package(tmp_path / "m").read_bytes()
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process"})) as runner:
        imported = runner.fetch_model("far", address(server, "model.tar.gz?signature=secret"))
        assert (imported["best_stage"], codes(imported)) == ("epoch_2", ["no_image"])
        assert imported["origin"]["source"] == address(server, "model.tar.gz")
        weights = runner.fetch_model("far", address(server, "best.pt"), class_names=["cat"], object_type="detection")
        assert weights["stages"][0]["files"] == ["best.pt"]
        assert list((tmp_path / "home" / "tmp").iterdir()) == []
    assert without_secrets("https://me:word@host:99/a?b=c#d") == "https://host:99/a"

"""Buckets and web servers as sources: the conformance class, and that no certificate is trusted unseen."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from contracts.connection import Connection
from contracts.errors import DatasetError, UnavailableError
from contracts.seams import RemoteFile
from plugins.sources.http import HttpSource, HttpsSource, Patience
from plugins.sources.s3 import ObsSource, S3Source
from plugins.stores import bucket
from tests.conformance.source import SourceConformance
from tests.s3 import S3Server, connection_to

FILES = {"a.png": b"first", "deep/b c.png": b"second", "empty": b""}
QUICK = Patience(attempts=2, timeout_s=5.0, wait_s=0.01)


class TestS3Source(SourceConformance):
    plugin = S3Source

    @pytest.fixture
    def source(self, s3_server: S3Server) -> S3Source:
        return self.plugin(connection_to(s3_server.endpoint), bucket.Patience(attempts=2, wait_s=0.01))

    @pytest.fixture
    def files(self) -> dict[str, bytes]:
        return FILES

    @pytest.fixture
    def address(self, s3_server: S3Server, files: dict[str, bytes]) -> str:
        name = s3_server.new_bucket({f"set/{key}": content for key, content in files.items()} | {"set/": b"", "set/deep/": b""})
        return f"{self.plugin.name}://{name}/set"

    @pytest.fixture
    def missing(self, address: str) -> str:
        return f"{address}/nothing.png"


class TestObsSource(TestS3Source):
    plugin = ObsSource


@contextmanager
def web_server(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestHttpSource(SourceConformance):
    @pytest.fixture
    def source(self) -> HttpSource:
        return HttpSource(Connection(), QUICK)

    @pytest.fixture
    def files(self) -> dict[str, bytes]:
        return {"a b.zip": b"an archive"}

    @pytest.fixture
    def address(self, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        folder = tmp_path_factory.mktemp("served")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        with web_server(folder) as port:
            yield f"http://127.0.0.1:{port}/a%20b.zip"

    @pytest.fixture
    def missing(self, address: str) -> str:
        return f"{address}x"


def test_a_certificate_is_checked_and_an_authority_can_be_named(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not installed")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(tmp_path / "c.pem"), "-keyout", str(tmp_path / "k.pem")]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "x.zip").write_bytes(b"x")
    with web_server(tmp_path / "served", context) as port:
        file = RemoteFile(f"https://127.0.0.1:{port}/x.zip", "x.zip")
        with pytest.raises(DatasetError, match="certificate that cannot be trusted"):
            HttpsSource(Connection(), QUICK).fetch(file, tmp_path / "got", 100)
        known = Patience(attempts=1, authority=str(tmp_path / "c.pem"))
        assert HttpsSource(Connection(), known).fetch(file, tmp_path / "got", 100) == 1


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://0.0.0.0/"])
def test_addresses_where_machines_keep_their_credentials_are_never_asked(address: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="never asked"):
        HttpSource(Connection(), QUICK).fetch(RemoteFile(address, "x"), tmp_path / "x", 100)


def test_a_server_that_is_away_is_named_without_what_is_secret(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1/x could not be fetched: .*\(2 attempts\)") as refused:
        HttpSource(Connection(), QUICK).fetch(RemoteFile("http://u:hush@127.0.0.1:1/x?token=hush", "x"), tmp_path / "x", 100)
    assert "hush" not in str(refused.value.to_dict())

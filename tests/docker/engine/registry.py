"""A registry of one image on 127.0.0.1, which the engine may speak to without TLS: enough of the registry API (v2) to be pulled from.

May ask for a user and a password, and may send its layers slowly: a pull that hangs can be looked at.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER, PASSWORD = "anna", "open sesame"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_UNKNOWN = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
_PIECE_BYTES = 16 * 1024


class Registry:
    """``address`` is host and port. What the engine asks for is counted by path in ``asked``."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.asked: Counter[str] = Counter()
        self.slow = False  # whether layers come in drops
        self.hung_up = threading.Event()  # the engine gave up a layer in the middle
        self.closing = threading.Event()
        self.blobs, self.manifest = _image(random.Random(7), layer_bytes=(900_000, 300_000, 50_000))
        self.address = ""

    @property
    def layer_bytes(self) -> int:
        """Of all layers, as they are sent."""
        return sum(layer["size"] for layer in json.loads(self.manifest)["layers"])

    @property
    def reference(self) -> str:
        return f"{self.address}/sluice-test/pulled:1"

    def allows(self, authorization: str) -> bool:
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return not self.private or authorization == f"Basic {wanted}"


@contextmanager
def serving(*, private: bool = False) -> Iterator[Registry]:
    registry = Registry(private=private)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": registry}))
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        registry.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.registry.allows(self.headers.get("Authorization", "")):
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="test"'})
            return
        kind, name = self.path.split("/")[-2:]
        self.registry.asked[kind] += self.command == "GET"
        if kind == "manifests" and name in ("1", _digest(self.registry.manifest)):
            self._answer(200, self.registry.manifest, {"Content-Type": _MANIFEST, "Docker-Content-Digest": _digest(self.registry.manifest)})
        elif kind == "blobs" and name in self.registry.blobs:
            self._answer(200, self.registry.blobs[name], {"Content-Type": "application/octet-stream"})
        else:
            self._answer(*((200, b"{}") if self.path == "/v2/" else (404, _UNKNOWN)), {"Content-Type": "application/json"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Docker-Distribution-Api-Version": "registry/2.0"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self._send(body)
        except OSError:
            self.registry.hung_up.set()
            self.close_connection = True

    def _send(self, body: bytes) -> None:
        for start in range(0, len(body), _PIECE_BYTES):
            self.wfile.write(body[start : start + _PIECE_BYTES])
            if self.registry.slow and len(body) > _PIECE_BYTES:
                self.registry.closing.wait(0.2)

    def log_message(self, *_: Any) -> None:
        pass


def _image(source: random.Random, layer_bytes: tuple[int, ...]) -> tuple[dict[str, bytes], bytes]:
    """Blobs by digest, and the manifest. The layers hold noise, which does not compress."""
    tars = [_tar(f"noise{number}", source.randbytes(size)) for number, size in enumerate(layer_bytes)]
    layers = [gzip.compress(tar, mtime=0) for tar in tars]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/none"], "Labels": {"sluice.test": "pulled"}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar) for tar in tars]},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _part("application/vnd.docker.container.image.v1+json", config),
        "layers": [_part("application/vnd.docker.image.rootfs.diff.tar.gzip", layer) for layer in layers],
    }
    return {_digest(blob): blob for blob in (config, *layers)}, json.dumps(manifest).encode()


def _part(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"

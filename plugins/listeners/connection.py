"""A connection that ends in time, however slowly the other side talks."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import ConfigurationError, UnavailableError


@contextmanager
def connected(host: str, port: int, timeout_s: float) -> Iterator[socket.socket]:
    """A TCP connection that is cut after ``timeout_s``. What fails inside because of the network is an ``UnavailableError`` naming host and port.

    A socket's own timeout is no limit: it begins again with each byte that arrives.
    """
    late = threading.Event()
    try:
        with socket.create_connection((host, port), timeout_s) as opened, _cut_after(opened, timeout_s, late):
            yield opened
    except (OSError, http.client.HTTPException, EOFError, UnicodeError) as error:
        why = f"no answer within {timeout_s:g} s" if late.is_set() or isinstance(error, TimeoutError) else _words(error)
        raise UnavailableError(f"{host}:{port} cannot be reached: {why}", hint="Is it running, and does the address fit?") from error


@contextmanager
def _cut_after(opened: socket.socket, timeout_s: float, late: threading.Event) -> Iterator[None]:
    """Works on a second handle, because TLS takes the first one away."""

    def cut() -> None:
        late.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    with opened.dup() as handle:
        timer = threading.Timer(timeout_s, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates and names are checked; ``ca_file`` replaces the system's authorities. Raises ``ConfigurationError``."""
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"the option ca_file: {ca_file} holds no certificate", hint="It needs the authority's certificate as PEM.", option="ca_file"
        ) from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

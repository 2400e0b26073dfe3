"""The certificate of the TCP door, taken up again whenever its files change: it is renewed every few weeks, the service runs for months."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from contracts.errors import ConfigurationError
from runner.settings import Settings

log = logging.getLogger(__name__)
_Stamp = tuple[tuple[int, int, int] | None, ...]


class Certificate:
    """``tls_certificate`` with ``tls_key``. Raises ``ConfigurationError`` when the two cannot be used at the start; later the former ones stay."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp = self._stamp_now()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """gRPC asks before each handshake whether there is a newer one; connections that stand keep theirs."""
        return grpc.dynamic_ssl_server_credentials(self._first, self._newer)

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """None when nothing changed, or what is there now cannot be used: each such state of the files is logged once."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return None
        self._stamp = stamp  # of before the reading: files that change meanwhile are read again
        try:
            newer = self._read()
        except ConfigurationError as error:
            log.error("the former certificate stays in use: %s", error)
            return None
        log.info("took up the certificate of %s", self._settings.tls_certificate)
        return newer

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key = (_read_pem(self._settings, name) for name in ("tls_certificate", "tls_key"))
        _refuse_mismatch(self._settings)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    def _stamp_now(self) -> _Stamp:
        return tuple(_stamp_of(_file(self._settings, name)) for name in ("tls_certificate", "tls_key"))


def _refuse_mismatch(settings: Settings) -> None:
    """gRPC would only find out at each handshake, and tell nobody but the client."""
    certificate, key = _file(settings, "tls_certificate"), _file(settings, "tls_key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate, key, password=""
        )  # an encrypted key is refused, not asked about
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"tls_certificate {certificate} and tls_key {key} cannot be used together: {error}",
            hint="Name a certificate chain and its own key, unencrypted, both in PEM form.",
            setting="tls_certificate",
        ) from error


def _read_pem(settings: Settings, name: str) -> bytes:
    file = _file(settings, name)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} {file} cannot be read: {error.strerror}", hint="Name a readable file.", setting=name) from error
    if b"-----BEGIN " not in data:
        raise ConfigurationError(f"{name} {file} is not in PEM form", hint="It begins with -----BEGIN.", setting=name)
    return data


def _file(settings: Settings, name: str) -> Path:
    return Path(getattr(settings, name)).expanduser()


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

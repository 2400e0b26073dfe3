"""One file of a web server, streamed to the disk.

SECURITY: certificates are checked, redirects are few and never lead from https to http or to another scheme, and link-local addresses, where
clouds keep credentials of the machine, are never asked. User, password and query of a URL, which may be secret, are in no message.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import unquote, urlsplit

from contracts.connection import Connection, scheme_of, shown_url
from contracts.errors import DatasetError, SluiceError, UnavailableError
from contracts.seams import RemoteFile, Source

_CHUNK_BYTES = 1024**2
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Patience:
    """``timeout_s``: without a byte; ``whole_s``: for one file."""

    attempts: int = 4
    timeout_s: float = 60.0
    whole_s: float = 6 * 3600.0
    wait_s: float = 1.0
    authority: str = ""


class HttpSource(Source):
    """A file at an ``http://`` address."""

    name: ClassVar[str] = "http"

    def __init__(self, connection: Connection | None = None, patience: Patience | None = None) -> None:  # noqa: ARG002 - a URL says it all
        self._patience = patience or Patience()

    def list_files(self, address: str) -> Iterator[RemoteFile]:
        """The one file, named as the URL's last part."""
        yield RemoteFile(address, unquote(urlsplit(address).path).rpartition("/")[2] or "download")

    def fetch(self, file: RemoteFile, target: Path, largest_bytes: int) -> int:
        why: SluiceError | None = None
        for attempt in range(self._patience.attempts):
            if attempt:
                time.sleep(self._patience.wait_s * 2 ** (attempt - 1))
            try:
                return self._fetch_once(file.address, target, largest_bytes)
            except UnavailableError as error:
                target.unlink(missing_ok=True)
                why = error
            except BaseException:
                target.unlink(missing_ok=True)
                raise
        assert why is not None  # noqa: S101 - at least one attempt was made
        raise UnavailableError(f"{why.message} ({self._patience.attempts} attempts)", hint=why.hint, **why.fields)

    def check(self, address: str) -> str:
        with self._open(address):
            return f"{shown_url(address)} answers"

    def _fetch_once(self, address: str, target: Path, largest_bytes: int) -> int:
        end = time.monotonic() + self._patience.whole_s
        with self._open(address) as answer:
            promised = _promised(answer)
            if promised is not None and promised > largest_bytes:
                raise _too_large(address, largest_bytes)
            try:
                with target.open("wb") as file:
                    received = _copy(answer, file, address, largest_bytes, end)
            except _BROKEN as error:
                raise _cut_off(address, f"it was cut off ({type(error).__name__})") from error
        if promised is not None and received != promised:
            raise _cut_off(address, f"it was cut off after {received:,} of {promised:,} bytes")
        return received

    def _open(self, address: str) -> Any:
        _check_host(address)
        context = ssl.create_default_context(cafile=self._patience.authority or None)
        opener = urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(address, headers={"User-Agent": "sluice", "Accept-Encoding": "identity"})  # noqa: S310 - only http(s)
        try:
            return opener.open(request, timeout=self._patience.timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            raise _error_of_status(address, error.code) from None
        except urllib.error.URLError as error:
            raise _error_of_reason(address, error.reason) from error
        except _BROKEN as error:
            raise _cut_off(address, f"it does not answer ({type(error).__name__})") from error
        except ValueError as error:
            raise DatasetError(
                f"{shown_url(address)} is no URL that can be asked", hint="Correct it.", address=shown_url(address)
            ) from error


class HttpsSource(HttpSource):
    """A file at an ``https://`` address."""

    name: ClassVar[str] = "https"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A few, and never down from https."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            self._check(req.full_url, newurl)
        except SluiceError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    @staticmethod
    def _check(former: str, newurl: str) -> None:
        if scheme_of(newurl) not in ("http", "https") or (scheme_of(former) == "https" and scheme_of(newurl) != "https"):
            raise DatasetError(
                f"{shown_url(former)} leads on to {shown_url(newurl)}, which is not as safe", hint="Name the last address itself."
            )
        _check_host(newurl)


def _check_host(address: str) -> None:
    """SECURITY: 169.254.169.254 and its like give a machine's credentials to whoever asks from it."""
    parts = urlsplit(address)
    try:
        found = socket.getaddrinfo(parts.hostname or "", parts.port or 0, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError) as error:
        raise UnavailableError(
            f"the host of {shown_url(address)} is not known", hint="Correct the address, or try again when the name service answers."
        ) from error
    for *_, place in found:
        ip = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
            raise DatasetError(f"{shown_url(address)} leads to {ip}, which is never asked", hint="Name another host.")


def _copy(answer: Any, file: IO[bytes], address: str, largest_bytes: int, end: float) -> int:
    received = 0
    while chunk := answer.read(_CHUNK_BYTES):
        received += len(chunk)
        if received > largest_bytes:
            raise _too_large(address, largest_bytes)
        if time.monotonic() > end:
            raise DatasetError(
                f"{shown_url(address)} is too slow: {received:,} bytes so far", hint="Download it yourself and import the file."
            )
        file.write(chunk)
    return received


def _promised(answer: Any) -> int | None:
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def _too_large(address: str, largest_bytes: int) -> DatasetError:
    return DatasetError(
        f"{shown_url(address)} has more than the {largest_bytes:,} bytes allowed",
        hint="If you trust it, download it yourself and import the file.",
    )


def _cut_off(address: str, why: str) -> UnavailableError:
    return UnavailableError(f"{shown_url(address)} could not be fetched: {why}", hint="Try again later, or download it yourself.")


def _error_of_status(address: str, status: int) -> SluiceError:
    if status >= 500 or status in (408, 429):
        return _cut_off(address, f"the server answered {status}")
    if 300 <= status < 400:
        return DatasetError(
            f"{shown_url(address)} leads on too often, or to another kind of address ({status})", hint="Name the last address itself."
        )
    hint = "Only files that everybody may read can be imported: download it yourself and import the file." if status in (401, 403) else ""
    return DatasetError(
        f"{shown_url(address)} cannot be fetched: the server answered {status}", hint=hint or "Correct the address.", status=status
    )


def _error_of_reason(address: str, reason: Any) -> SluiceError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DatasetError(
            f"{shown_url(address)} has a certificate that cannot be trusted: {reason.verify_message}",
            hint="Its authority must be among those of this machine; it is not asked without.",
        )
    return _cut_off(address, f"{type(reason).__name__ if isinstance(reason, Exception) else 'error'}: {reason}")

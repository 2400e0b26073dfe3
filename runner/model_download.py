"""A file fetched over HTTP into a folder: streamed, limited in size and time, with TLS certificates always checked."""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from contracts.errors import RequestError, UnavailableError

Count = Callable[[int, "int | None"], None]
_BLOCK = 1024**2
_SILENCE_S = 60.0
_MOST_REDIRECTS = 5
_KEPT_FREE_BYTES = 1024**3


def download(url: str, folder: Path, *, largest_bytes: int, timeout_s: float, on_progress: Count) -> Path:
    """The file in ``folder``, under the last part of the address. Only http and https; from https no redirect leads back to http.

    Raises ``RequestError`` for an address that cannot be used or a file that is too large, ``UnavailableError`` when the server cannot be
    reached, answers with an error, falls silent, or sends another number of bytes than it said.
    """
    shown = _check(url)
    deadline = time.monotonic() + timeout_s
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "sluice"})  # noqa: S310 - checked above
        with _opener().open(request, timeout=_SILENCE_S) as answer:
            total = _announced(answer, shown, largest_bytes, folder)
            target = folder / _file_name(answer.geturl())
            _copy(answer, target, shown, total, largest_bytes, deadline, on_progress)
    except urllib.error.HTTPError as error:
        raise UnavailableError(
            f"{shown} answered {error.code} {error.reason}", hint="Does the address fit? Does it need a login?"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{shown} cannot be fetched: {_words(error)}", hint="Try again, or download it yourself.") from error
    return target


def without_secrets(url: str) -> str:
    """The address without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _check(url: str) -> str:
    try:
        parts = urlsplit(url)
        shown = without_secrets(url)
    except ValueError as error:
        raise RequestError(f"{url[:200]!r} is no address: {error}", hint="Write https://host/file.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise RequestError(f"{url[:200]!r} is no address that can be fetched", hint="Write https://host/file.")
    return shown


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https" and (req.type == "https" or urlsplit(newurl).scheme != "http"):
            raise UnavailableError(f"{without_secrets(req.full_url)} leads to {without_secrets(newurl)}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP alone: neither files nor ftp, whatever a redirect says. Proxies of the environment are used."""
    opener = urllib.request.OpenerDirector()
    context = ssl.create_default_context()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _announced(answer: http.client.HTTPResponse, shown: str, largest_bytes: int, folder: Path) -> int | None:
    length = answer.headers.get("Content-Length") or ""
    total = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
    if total is not None and total > largest_bytes:
        raise _too_large(shown, largest_bytes)
    free_bytes = shutil.disk_usage(folder).free - _KEPT_FREE_BYTES
    if (total or 0) > free_bytes:
        raise UnavailableError(f"{shown} has {total:,} bytes, but only {max(free_bytes, 0):,} may be used here", hint="Free some space.")
    return total


def _copy(
    answer: http.client.HTTPResponse, target: Path, shown: str, total: int | None, largest_bytes: int, deadline: float, on_progress: Count
) -> None:
    done = 0
    with target.open("xb") as file:
        while block := answer.read1(_BLOCK):
            done += len(block)
            if done > largest_bytes:
                raise _too_large(shown, largest_bytes)
            if time.monotonic() > deadline:
                raise UnavailableError(f"{shown} is too slow: {done:,} bytes came in the time allowed", hint="Download it yourself.")
            file.write(block)
            on_progress(done, total)
    if total is not None and done != total:
        raise UnavailableError(f"{shown} broke off after {done:,} of {total:,} bytes", hint="Try again.")


def _file_name(url: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._+=-]", "_", unquote(PurePosixPath(urlsplit(url).path).name)).lstrip(".")
    return name[-100:] or "model"


def _too_large(shown: str, largest_bytes: int) -> RequestError:
    return RequestError(f"{shown} is larger than {largest_bytes:,} bytes", hint="Download it yourself, look at it, and import the file.")


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message}"
    return str(reason or error) or type(error).__name__

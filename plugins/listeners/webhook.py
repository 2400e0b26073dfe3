"""Tells a web server about jobs: one signed POST of JSON for each delivery. docs/notes/listeners.md is written for the receiver's author."""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from contracts.seams import Listener
from plugins.listeners.connection import connected, tls_context
from plugins.listeners.options import Options

SIGNATURE_VERSION = "v1"
LONGEST_WAIT_S = 3600.0
#: Answers after which the same request may be taken later; beside them every 5xx.
_LATER = (408, 425, 429)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """``v1=`` and the hexadecimal HMAC-SHA256 of ``timestamp.body``."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"{SIGNATURE_VERSION}={mac.hexdigest()}"


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, tolerance_s: float = 300.0, now: float | None = None) -> bool:
    """For receivers: whether a request comes from who knows the secret, unchanged, and was made at most ``tolerance_s`` ago.

    ``body`` is the body as it arrived, before any parsing. Leave out deliveries whose ``Sluice-Delivery`` was seen before.
    """
    found = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = found.get("sluice-timestamp", ""), found.get("sluice-signature", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs((time.time() if now is None else now) - int(timestamp)) > tolerance_s:
        return False
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode())


class WebhookListener(Listener):
    """Options: ``url``, ``secret`` or ``secret_file``, ``timeout_s`` (30), ``ca_file``.

    SECURITY: redirects are not followed, so that the message and its signature go nowhere else. The path of the URL is shown in no error: with
    some receivers it is the password.
    """

    name: ClassVar[str] = "webhook"

    def __init__(self, options: Mapping[str, str]) -> None:
        given = Options(options)
        self._url = _checked_url(given.text("url"))
        self._secret = _one_secret(given.text("secret", ""), given.secret_file("secret_file"))
        self._timeout_s = given.timeout_s()
        ca_file = given.file("ca_file")
        given.refuse_rest()
        self._tls = tls_context(ca_file) if self._url.scheme == "https" else None
        self._host = str(self._url.hostname)
        self._port = self._url.port or (443 if self._tls else 80)

    def __repr__(self) -> str:
        return f"WebhookListener({self._place()})"

    def deliver(self, delivery_id: str, message: Mapping[str, Any], timeout_s: float) -> None:
        body = _body(message)
        status, reason, retry_after = self._post(body, self._headers(delivery_id, message, body), min(timeout_s, self._timeout_s))
        if 200 <= status < 300:
            return
        said = f"{self._place()} answered {status} {reason}".rstrip()
        if status >= 500 or status in _LATER:
            raise UnavailableError(said, hint="It is tried again for a day.", status=status, retry_after_s=_wait_s(retry_after))
        raise RequestError(said, hint=_hint(status), status=status)

    def _post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
        """Status, its words and ``Retry-After``; the body of the answer is not read."""
        with connected(self._host, self._port, timeout_s) as opened:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
            connection.sock = self._tls.wrap_socket(opened, server_hostname=self._host) if self._tls else opened
            try:
                connection.request("POST", self._target(), body, dict(headers))
                answer = connection.getresponse()
                return answer.status, _printable(answer.reason), answer.getheader("Retry-After") or ""
            finally:
                connection.close()

    def _headers(self, delivery_id: str, message: Mapping[str, Any], body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        return {
            "Host": self._url.netloc,
            "Content-Type": "application/json",
            "User-Agent": "Sluice",
            "Sluice-Delivery": delivery_id,
            "Sluice-Event": str(message.get("event", "")),
            "Sluice-Timestamp": timestamp,
            "Sluice-Signature": sign(self._secret, timestamp, body),
            "Connection": "close",
        }

    def _target(self) -> str:
        return (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def _place(self) -> str:
        return f"{self._url.scheme}://{self._url.netloc}"


def _checked_url(text: str) -> SplitResult:
    """SECURITY: user and password do not belong into a URL, which is shown."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool((url.hostname or "").encode("idna")) and url.port != 0
    except ValueError:
        url, usable = urlsplit(""), False
    if not usable or url.username is not None or not (text.isascii() and text.isprintable()) or " " in text:
        raise ConfigurationError(
            "the option url is no address of a web server",
            hint="Write https://host[:port]/path, without user and password; escape what is not ASCII.",
            option="url",
        )
    return url


def _one_secret(secret: str, from_file: str) -> str:
    if bool(secret) == bool(from_file):
        raise ConfigurationError(
            "a webhook needs either secret or secret_file",
            hint="Make one with `openssl rand -hex 32` and give it to the receiver too: it shows that a message is ours.",
            option="secret",
        )
    return secret or from_file


def _body(message: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise RequestError(f"the message is no JSON: {error}", hint="This is a defect of who made the message.") from error


def _wait_s(retry_after: str) -> float | None:
    """``Retry-After`` in seconds, given as such or as a date; at most an hour, None when it says nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    return min(max(moment.timestamp() - time.time(), 0.0), LONGEST_WAIT_S)


def _hint(status: int) -> str:
    if 300 <= status < 400:
        return "Redirects are not followed: name the final address in the option url."
    return "It is not tried again: correct the option url or the receiver; 401 and 403 often mean another secret."


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:100]

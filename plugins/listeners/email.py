"""Tells people about jobs by e-mail."""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, ClassVar

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from contracts.seams import Listener
from plugins.listeners.connection import connected, tls_context
from plugins.listeners.options import Options

_PORTS = {"starttls": 587, "ssl": 465, "none": 25}
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_LOCAL = ("localhost", "127.0.0.1", "::1")
#: What the body shows of a job, in this order.
_SHOWN = (
    ("name", "name"), ("kind", "kind"), ("state", "state"), ("attempt", "attempt"), ("user", "user"), ("project", "project"),
    ("image", "image"), ("model", "model"), ("started", "started_at"), ("ended", "ended_at"), ("seconds", "duration_s"),
    ("end reason", "end_reason"), ("exit code", "exit_code"), ("what happened", "message"), ("the image says", "image_message"),
    ("hint", "hint"), ("what to do", "next_step"),
)  # fmt: skip


class EmailListener(Listener):
    """Options: ``host``, ``port`` (by ``tls``), ``from``, ``to`` (several separated by blanks or commas), ``tls`` (starttls, ssl or none),
    ``username``, ``password_file``, ``timeout_s`` (30), ``ca_file``.

    SMTP cannot tell a message that arrived twice from two messages; ``Message-ID`` is the same for a delivery, so that mail programs can.
    """

    name: ClassVar[str] = "email"

    def __init__(self, options: Mapping[str, str]) -> None:
        given = Options(options)
        self._host = given.text("host")
        self._tls_mode = given.choice("tls", tuple(_PORTS), "starttls")
        self._port = int(given.number("port", _PORTS[self._tls_mode], 1, 65535))
        self._from = _addresses("from", given.text("from"))[0]
        self._to = _addresses("to", given.text("to"))
        self._username = given.text("username", "")
        self._password = given.secret_file("password_file")
        self._timeout_s = given.timeout_s()
        ca_file = given.file("ca_file")
        given.refuse_rest()
        self._check_login()
        self._tls = tls_context(ca_file)

    def __repr__(self) -> str:
        return f"EmailListener({self._host}:{self._port} to {', '.join(self._to)})"

    def deliver(self, delivery_id: str, message: Mapping[str, Any], timeout_s: float) -> None:
        mail = self._mail(delivery_id, message)
        limit_s = min(timeout_s, self._timeout_s)
        with connected(self._host, self._port, limit_s) as opened:
            try:
                self._send(mail, opened, limit_s)
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError) as error:
                raise self._refusal(error) from error

    def _send(self, mail: EmailMessage, opened: socket.socket, timeout_s: float) -> None:
        wrapped = self._tls.wrap_socket(opened, server_hostname=self._host) if self._tls_mode == "ssl" else opened
        with _Smtp(wrapped, self._host, self._port, timeout_s) as smtp:
            if self._tls_mode == "starttls":
                smtp.starttls(context=self._tls)
            if self._username:
                smtp.login(self._username, self._password)
            smtp.send_message(mail, self._from, self._to)

    def _mail(self, delivery_id: str, message: Mapping[str, Any]) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._from, ", ".join(self._to)
        mail["Subject"] = f"[Sluice] {_line(message.get('text') or message.get('event') or delivery_id)[:200]}"
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9._-]', '-', delivery_id)}@{self._from.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail["Sluice-Delivery"], mail["Sluice-Event"] = _line(delivery_id), _line(message.get("event", ""))
        mail.set_content(_body(message))
        return mail

    def _check_login(self) -> None:
        """SECURITY: a password never goes over a line that anybody may read."""
        if bool(self._username) != bool(self._password):
            raise ConfigurationError("username and password_file go together", hint="Give both or neither.", option="username")
        if self._username and self._tls_mode == "none" and self._host not in _LOCAL:
            raise ConfigurationError(
                f"tls = none would send the password to {self._host} for anybody to read", hint="Use starttls or ssl.", option="tls"
            )

    def _refusal(self, error: smtplib.SMTPException) -> UnavailableError | RequestError:
        """SMTP's 4xx, a refused greeting and a refused login may work later; other answers will not."""
        said = f"{self._host}:{self._port} refused the message: {_words(error)}"
        login = isinstance(error, smtplib.SMTPAuthenticationError)
        if login or isinstance(error, smtplib.SMTPConnectError) or (_codes(error) and all(400 <= code < 500 for code in _codes(error))):
            return UnavailableError(said, hint="Correct username and password_file; it is tried again." if login else "It is tried again.")
        return RequestError(said, hint="It is not tried again: correct host, tls, from or to.")


class _Smtp(smtplib.SMTP):
    """SMTP over a connection that is already open."""

    def __init__(self, opened: socket.socket, host: str, port: int, timeout_s: float) -> None:
        self._opened = opened
        # The host's own name is not looked up, which can take minutes.
        super().__init__(host, port, local_hostname=socket.gethostname(), timeout=timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - smtplib's signature
        return self._opened


def _addresses(option: str, text: str) -> list[str]:
    found = text.replace(",", " ").split()
    for address in found:
        if not _ADDRESS.fullmatch(address):
            raise ConfigurationError(f"the option {option}: {address!r} is no e-mail address", hint="Write name@host.", option=option)
    if not found or (option == "from" and len(found) > 1):
        raise ConfigurationError(f"the option {option} is {text!r}", hint="One address; `to` may have several.", option=option)
    return found


def _body(message: Mapping[str, Any]) -> str:
    job = message.get("job")
    job = job if isinstance(job, Mapping) else {}
    lines = [_line(message.get("text", "")), ""]
    lines += [f"{label + ':':<16}{_line(job[key])}" for label, key in _SHOWN if job.get(key) not in (None, "")]
    result = job.get("result")
    lines += [f"{name + ':':<16}{_line(value)}" for name, value in result.items()] if isinstance(result, Mapping) else []
    return "\n".join([*lines, "", f"Job {_line(job.get('id', ''))}: `sluice job show {_line(job.get('id', ''))}` says more.", ""])


def _line(value: Any) -> str:
    """One line, valid Unicode: a text from a job can forge neither a header nor another line."""
    text = str(value).encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _codes(error: smtplib.SMTPException) -> list[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _said in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []


def _words(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{address}: {code} {_said(said)}" for address, (code, said) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_said(error.smtp_error)}"
    return _line(error)


def _said(answer: bytes | str) -> str:
    return _line(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer)[:300]

"""The e-mail listener against a real SMTP server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from plugins.listeners.email import EmailListener
from tests.conformance.listener import DELIVERY, MESSAGE, ListenerConformance

PASSWORD = "a-password-that-nobody-sees"


class MailReceiver:
    """An SMTP server whose answers the test chooses. ``mails`` is what it took, ``recipients`` for whom."""

    def __init__(self, port: int, **server: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refused: dict[str, str] = {}
        self.said, self.port, self._options = "250 OK", port, server
        self._controller: Controller | None = None
        self._silent: socket.socket | None = None
        self._open()

    def delivery_ids(self) -> list[str]:
        return [mail["Sluice-Delivery"] for mail in self.mails]

    def answer(self, how: str) -> None:
        self.close()
        if how == "silent":
            self._silent = socket.create_server(("127.0.0.1", self.port))
        elif how != "away":
            self._open()
        self.said = {"later": "451 come back later", "never": "554 not here"}.get(how, "250 OK")

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.said.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
            self.recipients.append(list(envelope.rcpt_tos))
        return self.said

    def _open(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
        self._controller.start()

    def close(self) -> None:
        if self._controller:
            self._controller.stop()
        if self._silent:
            self._silent.close()
        self._controller = self._silent = None


@pytest.fixture
def receiver(free_port: int) -> Iterator[MailReceiver]:
    server = MailReceiver(free_port)
    yield server
    server.close()


@pytest.fixture
def options(free_port: int) -> dict[str, str]:
    return {"host": "localhost", "port": str(free_port), "tls": "none", "from": "sluice@example.org", "to": "team@example.org"}


@pytest.fixture
def new_listener(options: dict[str, str]) -> Callable[..., EmailListener]:
    return lambda **changes: EmailListener(options | changes)


class TestEmailListener(ListenerConformance):
    @pytest.fixture
    def new_listener(self, options: dict[str, str], receiver: MailReceiver, tmp_path: Path) -> Callable[..., EmailListener]:
        """With a login, so that there is a secret to keep."""
        receiver.close()
        receiver._options = {"authenticator": _accepts, "auth_require_tls": False}
        receiver.answer("take")
        (tmp_path / "password").write_text(PASSWORD)
        login = {"username": "sluice", "password_file": str(tmp_path / "password")}
        return lambda **changes: EmailListener(options | login | changes)

    @pytest.fixture
    def secret(self) -> str:
        return PASSWORD

    @pytest.fixture
    def required_option(self) -> str:
        return "to"


def _accepts(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


def test_people_read_what_happened_and_what_to_do(receiver: MailReceiver, new_listener: Callable[..., EmailListener]) -> None:
    job = {"id": "t4k2m9xq", "name": "cells-1", "end_reason": "out_of_memory", "next_step": "Give it more.", "result": {"model": "m"}}
    new_listener().deliver(DELIVERY, MESSAGE | {"job": job}, 30.0)
    (mail,) = receiver.mails
    body = mail.get_content()
    assert mail["Subject"] == "[Sluice] training cells-1 failed: out_of_memory"
    assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == ("sluice@example.org", "team@example.org", "auto-generated")
    assert all(line in body for line in ("end reason:     out_of_memory", "what to do:     Give it more.", "`sluice job show t4k2m9xq`"))


def test_the_message_id_is_the_deliverys_so_that_mail_programs_see_a_repetition(
    receiver: MailReceiver, new_listener: Callable[..., EmailListener]
) -> None:
    for _ in range(2):
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    assert [mail["Message-ID"] for mail in receiver.mails] == [f"<{DELIVERY}@example.org>"] * 2


def test_several_people_get_it(receiver: MailReceiver, new_listener: Callable[..., EmailListener]) -> None:
    new_listener(to="one@example.org, two@example.org three@example.org").deliver(DELIVERY, MESSAGE, 30.0)
    assert receiver.recipients == [["one@example.org", "two@example.org", "three@example.org"]]


def test_one_refused_address_does_not_keep_it_from_the_others(receiver: MailReceiver, new_listener: Callable[..., EmailListener]) -> None:
    receiver.refused = {"gone@example.org": "550 no such person"}
    new_listener(to="gone@example.org team@example.org").deliver(DELIVERY, MESSAGE, 30.0)
    assert receiver.recipients == [["team@example.org"]]


@pytest.mark.parametrize(("said", "error"), [("450 busy", UnavailableError), ("550 no such person", RequestError)])
def test_when_every_address_is_refused_the_answer_says_whether_later_helps(
    receiver: MailReceiver, new_listener: Callable[..., EmailListener], said: str, error: type[Exception]
) -> None:
    receiver.refused = {"team@example.org": said}
    with pytest.raises(error, match=f"team@example.org: {said}"):
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)


def test_a_text_of_a_job_forges_neither_a_header_nor_a_line(receiver: MailReceiver, new_listener: Callable[..., EmailListener]) -> None:
    text = "failed\r\nBcc: thief@example.org\r\n\r\nforged"
    new_listener().deliver(DELIVERY, {"event": text, "text": text, "job": {"id": "t1", "message": text}}, 30.0)
    (mail,) = receiver.mails
    assert mail["Bcc"] is None
    assert receiver.recipients == [["team@example.org"]]
    assert "what happened:  failed Bcc: thief@example.org forged" in mail.get_content().splitlines()


@pytest.mark.parametrize("message", [{}, {"event": None, "job": "nothing"}, {"text": "x" * 100_000, "job": {"id": 1, "result": 5}}])
def test_any_message_can_be_sent(receiver: MailReceiver, new_listener: Callable[..., EmailListener], message: dict[str, Any]) -> None:
    new_listener().deliver(DELIVERY, message, 30.0)
    assert receiver.delivery_ids() == [DELIVERY]


def test_a_wrong_password_is_tried_again_because_somebody_may_correct_it(
    receiver: MailReceiver, new_listener: Callable[..., EmailListener], tmp_path: Path
) -> None:
    receiver.close()
    receiver._options = {"authenticator": _accepts, "auth_require_tls": False}
    receiver.answer("take")
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(UnavailableError, match="535") as caught:
        new_listener(username="sluice", password_file=str(tmp_path / "password")).deliver(DELIVERY, MESSAGE, 30.0)
    assert "password_file" in caught.value.hint


class TestTls:
    @pytest.fixture
    def context(self, certificate: tuple[Path, Path]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        return context

    @pytest.fixture
    def receiver(self, free_port: int, context: ssl.SSLContext) -> Iterator[MailReceiver]:
        server = MailReceiver(free_port, tls_context=context, require_starttls=True)
        yield server
        server.close()

    def test_starttls_comes_before_anything_else(
        self, receiver: MailReceiver, new_listener: Callable[..., EmailListener], certificate: tuple[Path, Path]
    ) -> None:
        new_listener(tls="starttls", ca_file=str(certificate[0])).deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.delivery_ids() == [DELIVERY]

    def test_a_server_of_an_unknown_authority_is_told_nothing(
        self, receiver: MailReceiver, new_listener: Callable[..., EmailListener]
    ) -> None:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            new_listener(tls="starttls").deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.mails == []

    def test_tls_from_the_first_byte(
        self, free_port: int, context: ssl.SSLContext, new_listener: Callable[..., EmailListener], certificate: tuple[Path, Path]
    ) -> None:
        server = MailReceiver(free_port, ssl_context=context)
        new_listener(tls="ssl", ca_file=str(certificate[0])).deliver(DELIVERY, MESSAGE, 30.0)
        assert server.delivery_ids() == [DELIVERY]
        server.close()


def test_a_server_without_starttls_is_told_nothing(receiver: MailReceiver, new_listener: Callable[..., EmailListener]) -> None:
    with pytest.raises(RequestError, match="STARTTLS"):
        new_listener(tls="starttls").deliver(DELIVERY, MESSAGE, 30.0)
    assert receiver.mails == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("from", "nobody"), ("from", "a@b c@d"), ("to", "a@b\r\nBcc: c@d"), ("to", ", ,"), ("tls", "yes"), ("port", "0"), ("port", "smtp")],
)
def test_an_impossible_option_is_named(options: dict[str, str], option: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"option {option}"):
        EmailListener(options | {option: value})


def test_username_and_password_go_together(options: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="username and password_file"):
        EmailListener(options | {"username": "sluice"})


def test_a_password_is_not_sent_in_the_open(options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    login = {"username": "sluice", "password_file": str(tmp_path / "password")}
    with pytest.raises(ConfigurationError, match="for anybody to read"):
        EmailListener(options | login | {"host": "mail.example.org"})
    assert EmailListener(options | login)

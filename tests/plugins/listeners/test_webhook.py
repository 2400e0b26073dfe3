"""The webhook listener against a real HTTP server."""

from __future__ import annotations

import email.utils
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from plugins.listeners.webhook import WebhookListener, sign, verify
from tests.conformance.listener import DELIVERY, MESSAGE, ListenerConformance
from tests.plugins.listeners.http_receiver import HttpReceiver

SECRET = "a-secret-of-receiver-and-sender"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    server = HttpReceiver()
    yield server
    server.close()


@pytest.fixture
def new_listener(receiver: HttpReceiver) -> Callable[..., WebhookListener]:
    return lambda **changes: WebhookListener({"url": receiver.url, "secret": SECRET} | changes)


class TestWebhookListener(ListenerConformance):
    @pytest.fixture
    def secret(self) -> str:
        return SECRET

    @pytest.fixture
    def required_option(self) -> str:
        return "url"


def test_the_message_arrives_as_json_at_the_path_of_the_url(receiver: HttpReceiver, new_listener: Callable[..., WebhookListener]) -> None:
    new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == MESSAGE
    assert (headers["Content-Type"], headers["Sluice-Event"]) == ("application/json", "failed")


def test_the_documented_check_accepts_what_came_and_nothing_else(
    receiver: HttpReceiver, new_listener: Callable[..., WebhookListener]
) -> None:
    new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    ((headers, body),) = receiver.requests
    assert verify(SECRET, headers, body)
    assert verify(SECRET, {name.upper(): value for name, value in headers.items()}, body)
    assert not verify("another secret", headers, body)
    assert not verify(SECRET, headers, body + b" ")
    assert not verify(SECRET, headers | {"Sluice-Timestamp": str(int(headers["Sluice-Timestamp"]) + 1)}, body)
    assert not verify(SECRET, {}, body)


def test_an_old_message_is_not_accepted_though_its_signature_is_right() -> None:
    headers = {"Sluice-Timestamp": "1000", "Sluice-Signature": sign(SECRET, "1000", b"{}")}
    assert verify(SECRET, headers, b"{}", now=1200.0)
    assert not verify(SECRET, headers, b"{}", now=1301.0)
    assert not verify(SECRET, headers, b"{}", now=699.0)


@pytest.mark.parametrize("timestamp", ["", "-5", "1e3", "²", "nan"])
def test_a_timestamp_that_is_no_number_is_not_accepted(timestamp: str) -> None:
    assert not verify(SECRET, {"Sluice-Timestamp": timestamp, "Sluice-Signature": "v1="}, b"{}")


def test_the_signature_is_what_the_note_says() -> None:
    assert sign("secret", "1700000000", b"{}") == "v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_an_answer_that_may_change_is_unavailable(
    receiver: HttpReceiver, new_listener: Callable[..., WebhookListener], status: int
) -> None:
    receiver.status = status
    with pytest.raises(UnavailableError, match=f"localhost:.* answered {status}"):
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_an_answer_that_will_not_change_is_a_wrong_request(
    receiver: HttpReceiver, new_listener: Callable[..., WebhookListener], status: int
) -> None:
    receiver.status = status
    with pytest.raises(RequestError, match=f"answered {status}"):
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: HttpReceiver, new_listener: Callable[..., WebhookListener], status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": receiver.url}
    with pytest.raises(RequestError, match=f"answered {status}") as caught:
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    assert "final address" in caught.value.hint
    assert len(receiver.requests) == 1


def _in(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("7", 7, 7), ("999999", 3600, 3600), (7200, 3600, 3600), (-60, 0, 0), (1800, 900, 1800)],
    ids=["seconds", "too many seconds", "a date too far", "a date in the past", "a date"],
)
def test_retry_after_is_handed_on_up_to_an_hour(
    receiver: HttpReceiver, new_listener: Callable[..., WebhookListener], value: str | int, low: float, high: float
) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": value if isinstance(value, str) else _in(value)}
    with pytest.raises(UnavailableError) as caught:
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    assert low <= caught.value.fields["retry_after_s"] <= high


@pytest.mark.parametrize("value", ["soon", "-1", "", "Mon, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_none(receiver: HttpReceiver, new_listener: Callable[..., WebhookListener], value: str) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": value}
    with pytest.raises(UnavailableError) as caught:
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    assert caught.value.fields["retry_after_s"] is None


def test_a_server_that_sends_a_byte_now_and_then_is_cut_off(free_port: int) -> None:
    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    stop = threading.Event()
    with socket.create_server(("127.0.0.1", free_port)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        listener = WebhookListener({"url": f"http://127.0.0.1:{free_port}/", "secret": SECRET})
        with pytest.raises(UnavailableError, match="no answer within 1 s"):
            listener.deliver(DELIVERY, MESSAGE, 1.0)
        stop.set()
        thread.join()


def test_what_is_no_http_is_unavailable(free_port: int) -> None:
    def talk() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-something\r\n")

    with socket.create_server(("127.0.0.1", free_port)) as server:
        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(UnavailableError, match="SSH"):
            WebhookListener({"url": f"http://127.0.0.1:{free_port}/", "secret": SECRET}).deliver(DELIVERY, MESSAGE, 30.0)
        thread.join()


def test_the_path_of_the_url_is_in_no_error(receiver: HttpReceiver, new_listener: Callable[..., WebhookListener]) -> None:
    receiver.status = 404
    with pytest.raises(RequestError) as caught:
        new_listener().deliver(DELIVERY, MESSAGE, 30.0)
    assert "path-secret" not in f"{caught.value} {new_listener()!r}"


def test_a_message_that_is_no_json_is_refused_before_it_is_sent(
    receiver: HttpReceiver, new_listener: Callable[..., WebhookListener]
) -> None:
    with pytest.raises(RequestError, match="no JSON"):
        new_listener().deliver(DELIVERY, {"fraction": float("nan")}, 30.0)
    assert receiver.requests == []


class TestOverTls:
    @pytest.fixture
    def receiver(self, certificate: tuple[Path, Path]) -> Iterator[HttpReceiver]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server = HttpReceiver(tls=context)
        yield server
        server.close()

    def test_a_known_authority_is_enough(self, receiver: HttpReceiver, certificate: tuple[Path, Path]) -> None:
        listener = WebhookListener({"url": receiver.url, "secret": SECRET, "ca_file": str(certificate[0])})
        listener.deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.delivery_ids() == [DELIVERY]

    def test_an_unknown_authority_is_told_nothing(self, receiver: HttpReceiver) -> None:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            WebhookListener({"url": receiver.url, "secret": SECRET}).deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.requests == []

    def test_a_certificate_of_another_name_is_told_nothing(self, receiver: HttpReceiver, certificate: tuple[Path, Path]) -> None:
        url = receiver.url.replace("localhost", "127.0.0.1")
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            WebhookListener({"url": url, "secret": SECRET, "ca_file": str(certificate[0])}).deliver(DELIVERY, MESSAGE, 30.0)
        assert receiver.requests == []


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "file:///etc/passwd", "host/path", "http://", "https://user:pass@host/", "http://host:99999/", "http://a b/",
     "http://host:0/", "http://h\tost/", "http://höst/", "http://[::1/", "http://a..b/"],
)  # fmt: skip
def test_what_is_no_address_of_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="option url") as caught:
        WebhookListener({"url": url, "secret": SECRET})
    assert "pass@" not in str(caught.value)


def test_one_secret_is_needed_and_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    url = {"url": "http://localhost:1/"}
    assert WebhookListener(url | {"secret_file": str(file)})
    for wrong in ({}, {"secret": SECRET, "secret_file": str(file)}):
        with pytest.raises(ConfigurationError, match="secret"):
            WebhookListener(url | wrong)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_secret_file_that_holds_none_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="secret_file"):
        WebhookListener({"url": "http://localhost:1/", "secret_file": str(file)})


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1000", "soon"])
def test_an_impossible_timeout_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="timeout_s"):
        WebhookListener({"url": "http://localhost:1/", "secret": SECRET, "timeout_s": value})


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.write_text("no certificate\n")
    with pytest.raises(ConfigurationError, match="ca_file"):
        WebhookListener({"url": "https://localhost:1/", "secret": SECRET, "ca_file": str(file)})

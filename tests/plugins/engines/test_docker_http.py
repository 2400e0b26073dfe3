"""The line to a local engine against a peer that answers as it is told: on time, in pieces, late, half or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_http import NoAnswer, Refused, SocketTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
SAME = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"


class Peer:
    """Answers each request with the next of ``answers``: bytes; None hangs up; a list is sent piece by piece, each when ``go_on`` is set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: list[bytes | list[bytes] | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.go_on = threading.Semaphore(0)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client may hang up first
            while request := self._receive(connection):
                self.requests.append(request)
                if not self._answer(connection):
                    break
        self._open.remove(connection)

    def _receive(self, connection: socket.socket) -> bytes:
        received = b""
        while not received.endswith((b"\r\n\r\n", b"}")):
            if not (data := connection.recv(65536)):
                return b""
            received += data
        return received

    def _answer(self, connection: socket.socket) -> bool:
        answer = self.answers.pop(0)
        for piece in answer if isinstance(answer, list) else [answer or b""]:
            if isinstance(answer, list):
                self.go_on.acquire()
            connection.sendall(piece)
        return answer is not None

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for _ in range(1000):
            self.go_on.release()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "peer.sock")
    yield peer
    peer.close()


@pytest.fixture
def transport(peer: Peer) -> Iterator[SocketTransport]:
    transport = SocketTransport(str(peer.path))
    yield transport
    transport.close()


Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture
def ask(transport: SocketTransport) -> Ask:
    def ask(method: str = "GET", body: bytes | None = None, timeout_s: float = 60.0) -> tuple[int, bytes]:
        with transport.open(method, "/x", {}, body, timeout_s, timeout_s) as answer:
            return answer.status, answer.read()

    return ask


def test_answers_of_every_shape_are_read_on_one_connection(peer: Peer, ask: Ask) -> None:
    peer.answers = [OK, CHUNKED, EMPTY, SAME, OK]
    answers = [ask(), ask(), ask("POST"), ask("POST"), ask("POST", b"{}")]
    assert answers == [(200, b"hello"), (200, b"hello world"), (204, b""), (304, b""), (200, b"hello")]
    assert peer.connections == 1
    assert b"Content-Length: 2\r\n" in peer.requests[-1]


@pytest.mark.parametrize("whole", [OK, CHUNKED])
def test_an_answer_that_comes_byte_by_byte_is_the_same(peer: Peer, ask: Ask, whole: bytes) -> None:
    peer.answers = [[whole[index : index + 1] for index in range(len(whole))], OK]
    for _ in whole:
        peer.go_on.release()
    assert ask()[1].startswith(b"hello")
    assert ask() == (200, b"hello")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_idle_connection_that_the_engine_closed_is_replaced(peer: Peer, ask: Ask, method: str) -> None:
    peer.answers = [OK, OK]
    ask()
    peer.hang_up()
    assert ask(method) == (200, b"hello")
    assert peer.connections == 2


def test_a_question_is_asked_again_when_the_engine_hangs_up_without_a_word(peer: Peer, ask: Ask) -> None:
    peer.answers = [OK, None, OK]
    ask()
    assert ask() == (200, b"hello")


def test_an_order_is_never_given_twice(peer: Peer, ask: Ask) -> None:
    """The engine may have begun to carry it out: a container would be started a second time."""
    peer.answers = [OK, None, OK]
    ask()
    with pytest.raises(NoAnswer):
        ask("POST")
    assert len(peer.requests) == 2


def test_an_engine_that_is_silent_is_not_asked_again(peer: Peer, ask: Ask) -> None:
    peer.answers = [OK, [OK]]
    ask()
    with pytest.raises(NoAnswer) as caught:
        ask(timeout_s=0.05)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    "broken", [OK[:-2], OK[:20], CHUNKED[:-5], CHUNKED[:60], b"SSH-2.0-OpenSSH\r\n\r\n", CHUNKED.replace(b"6;x=y", b"zz")]
)
def test_half_an_answer_or_none_at_all_is_no_answer(peer: Peer, ask: Ask, broken: bytes) -> None:
    peer.answers = [[broken]]
    hanging_up = threading.Timer(0.1, peer.hang_up)
    peer.go_on.release()
    hanging_up.start()
    with pytest.raises(NoAnswer):
        ask()
    hanging_up.join()


def test_a_connection_that_was_not_read_to_its_end_is_not_used_again(peer: Peer, transport: SocketTransport, ask: Ask) -> None:
    peer.answers = [CHUNKED, OK]
    with transport.open("GET", "/x", {}, None, 60, 60) as answer:
        assert answer.piece() == b"hello"
    assert ask() == (200, b"hello")
    assert peer.connections == 2


def test_a_connection_that_the_engine_wants_to_close_is_not_kept(peer: Peer, ask: Ask) -> None:
    peer.answers = [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK]
    assert [ask(), ask()] == [(200, b"hello")] * 2
    assert peer.connections == 2


def test_a_stream_can_be_waited_for_piece_by_piece(peer: Peer, transport: SocketTransport) -> None:
    head, first, rest = CHUNKED[:47], CHUNKED[47:57], CHUNKED[57:]
    peer.answers = [[head, first, rest]]
    peer.go_on.release()
    with transport.open("GET", "/x", {}, None, 60, 60) as answer:
        assert not answer.wait(0.01)
        peer.go_on.release()
        assert answer.wait(60)
        assert answer.piece() == b"hello"
        assert not answer.wait(0.01)
        peer.go_on.release()
        assert answer.wait(60)
        assert answer.read() == b" world"


def test_closing_an_answer_wakes_the_thread_that_reads_it(peer: Peer, transport: SocketTransport) -> None:
    peer.answers = [[CHUNKED[:57], b""]]
    peer.go_on.release()
    answer = transport.open("GET", "/x", {}, None, 60, None)
    assert answer.piece() == b"hello"
    ended: list[BaseException] = []

    def read_on() -> None:
        try:
            answer.piece()
        except NoAnswer as error:
            ended.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    answer.close()
    reader.join()
    assert ended


def test_many_threads_share_a_few_connections(peer: Peer, ask: Ask) -> None:
    peer.answers = [OK] * 400
    results: list[tuple[int, bytes]] = []
    threads = [threading.Thread(target=lambda: results.extend(ask() for _ in range(20))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(200, b"hello")] * 400
    assert peer.connections <= 400


# ------------------------------------------------------------------------------------------------------------ the API's version


def pong(version: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nApi-Version: %s\r\nContent-Length: 2\r\n\r\nOK" % version.encode()


def refusal(words: str) -> bytes:
    body = b'{"message": "%s"}' % words.encode()
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def client(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerClient]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{peer.path}")
    client = DockerClient()
    yield client
    client.close()


def test_the_version_is_asked_for_once(peer: Peer, client: DockerClient) -> None:
    peer.answers = [pong("1.41"), EMPTY, EMPTY]
    client.get("/a")
    client.get("/b")
    assert [request.split()[1] for request in peer.requests] == [b"/_ping", b"/v1.41/a", b"/v1.41/b"]


def test_an_engine_that_was_replaced_by_a_newer_one_is_spoken_to_in_its_version(peer: Peer, client: DockerClient) -> None:
    """Docker 29 takes nothing below 1.44: a runner that has been up for months must not be restarted for it."""
    too_old = refusal("client version 1.41 is too old. Minimum supported API version is 1.44")
    peer.answers = [pong("1.41"), too_old, pong("1.52"), EMPTY]
    client.ask("POST", "/a", body={})
    assert [request.split()[1] for request in peer.requests] == [b"/_ping", b"/v1.41/a", b"/_ping", b"/v1.52/a"]


def test_an_error_is_given_with_the_engines_words_on_one_line(peer: Peer, client: DockerClient) -> None:
    peer.answers = [pong("1.41"), refusal("no\\n such  thing")]
    with pytest.raises(Refused, match=r"^no such thing$"):
        client.get("/a")


def test_what_is_no_engine_is_said_so(peer: Peer, client: DockerClient) -> None:
    peer.answers = [OK]
    with pytest.raises(Refused):
        client.get("/a")

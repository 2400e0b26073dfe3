"""The connection to a service: calls with their metadata, errors of the tree, and patience with a service that is restarted."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import grpc

from contracts.errors import ConfigurationError, InternalError, RequestError, SluiceError, UnavailableError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document, to_message
from contracts.rpc.failures import ERROR_BYTES_KEY, ERROR_KEY, find_metadata, unpack_error
from contracts.rpc.sluice_pb2_grpc import SluiceStub

log = logging.getLogger(__name__)
C = TypeVar("C", bound="Connection")

PATIENCE_S = 60.0
_PAUSE_S = 0.2
_ERROR_BYTES = 1 << 20
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 2 * _ERROR_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * _ERROR_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


@dataclass(frozen=True)
class Hints:
    """What a person can do about a service that does not answer as it should."""

    gone: str
    unreachable: str
    late: str
    other_version: str


_HERE = Hints(
    gone="Running jobs go on. Start it again with `sluice serve`, or ask without it: --embed.",
    unreachable="Does `sluice serve` run?",
    late="Ask again, or allow it more time.",
    other_version="Start the service again with this version, or work without it: --embed.",
)
_ELSEWHERE = Hints(
    gone="Running jobs go on. `sluice serve --tcp` must be started again there.",
    unreachable="Is the address right, does `sluice serve --tcp` run there, and does nothing in between block the port?",
    late="Ask again. Is the address right, and does nothing in between block the port?",
    other_version="Use the service's version here, or have the service started again with this one.",
)
_DISTRUST = "It must be vouched for under this name: name a file with its authority (PEM) in the setting server_certificate."


class Connection:
    """One service. Safe to share between threads; close it, or use it as a context manager.

    ``elsewhere``: its files may be another machine's, so that a path must be named from the root there.
    ``timeout_s`` limits each call but the streams; None waits as long as it takes. ``patience_s``: how long a service that went away is waited for.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        address: str,
        *,
        token: str = "",
        elsewhere: bool = False,
        timeout_s: float | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.address = address
        self.elsewhere = elsewhere
        self.hints = _ELSEWHERE if elsewhere else _HERE
        self._channel = channel
        self._stub: Any = SluiceStub(channel)  # type: ignore[no-untyped-call]
        who = ("authorization", f"Bearer {token}") if token else ("sluice-user", _os_user())
        self._metadata = (who, (ERROR_BYTES_KEY, str(_ERROR_BYTES)))
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    @classmethod
    def over_unix(cls: type[C], path: Path, **options: Any) -> C:
        """By the socket at ``path``, as the user of this process."""
        return cls(grpc.insecure_channel(f"unix:{quote(os.fsencode(path))}", _OPTIONS), f"unix:{path}", **options)

    @classmethod
    def over_tcp(cls: type[C], address: str, *, token: str, certificate: Path | None = None, **options: Any) -> C:
        """By ``host:port``, as the token's user. ``certificate``: the authority (PEM) that the service's is checked against; None: the public ones."""
        roots = _read_authority(certificate) if certificate else None
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), _OPTIONS)
        return cls(channel, address, token=token, elsewhere=True, **options)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def describe(self, *, timeout_s: float | None = None) -> dict[str, Any]:
        """``version``, ``messages``, ``home`` and ``engine`` of the service. Raises ``UnavailableError`` at once when it does not answer."""
        try:
            return dict(to_document(self._stub.Describe(pb.DescribeRequest(), metadata=self._metadata, timeout=timeout_s)))
        except grpc.RpcError as error:
            raise self._error(error) from error

    # ------------------------------------------------------------------------------------------------ what the verbs are made of

    def _ask(self, method: str, request_type: Callable[[], Any], **given: Any) -> Any:
        """The answer's document. Asked again after a lost connection: only for what may be done twice."""
        request, patience = self._message(request_type, **given), self._patience()
        while True:
            try:
                return to_document(getattr(self._stub, method)(request, metadata=self._metadata, timeout=self._timeout_s))
            except grpc.RpcError as error:
                patience.wait_after(self._error(error), error)

    def _change(self, method: str, request_type: Callable[[], Any], **given: Any) -> Any:
        """The answer's document, asked once."""
        try:
            return to_document(
                getattr(self._stub, method)(self._message(request_type, **given), metadata=self._metadata, timeout=self._timeout_s)
            )
        except grpc.RpcError as error:
            raise _doubtful(self._error(error), method) from error

    def _long(self, method: str, request_type: Callable[[], Any], say: Callable[..., None], **given: Any) -> dict[str, Any]:
        """The result of a verb that says how far it is. Leaving early (Ctrl-C) ends it there, too."""
        call = getattr(self._stub, method)(self._message(request_type, **given), metadata=self._metadata)
        result: dict[str, Any] = {}
        try:
            for update in call:
                if update.WhichOneof("update") == "progress":
                    say(*to_document(update.progress).values())
                else:
                    result = to_document(update.result)
        except grpc.RpcError as error:
            raise _doubtful(self._error(error), method) from error
        finally:
            call.cancel()
        return result

    def _stream(self, method: str, patience: Patience, request: Any) -> Iterator[Any]:
        """The messages until the stream ends, or after a lost connection until it is time to call again: ``patience.lost`` tells which."""
        call = getattr(self._stub, method)(request, metadata=self._metadata)
        try:
            for message in call:
                patience.renew()
                yield message
            patience.lost = False
        except grpc.RpcError as error:
            patience.wait_after(self._error(error), error)
        finally:
            call.cancel()

    def _message(self, request_type: Callable[[], Any], **given: Any) -> Any:
        try:
            return to_message({name: self._plain(value) for name, value in given.items()}, request_type)
        except ValueError as error:
            raise RequestError(str(error), hint="Correct it.") from error

    def _patience(self) -> Patience:
        return Patience(self.address, self._patience_s, self.hints.gone)

    def _error(self, error: grpc.RpcError) -> SluiceError:
        """The error of the tree that the service raised, or what its silence means."""
        packed = find_metadata(error.trailing_metadata(), ERROR_KEY)
        known = unpack_error(packed) if packed else None
        return known or _error_of_status(error.code(), error.details() or "", self.address, self.hints)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, JobSpec):
            return value.model_dump(mode="json")
        if isinstance(value, Path):
            return _host_path(self._located(value))
        return value

    def _located(self, path: Path) -> Path:
        """The service has another working folder, and perhaps other files."""
        if self.elsewhere and not path.is_absolute():
            raise RequestError(
                f"{str(path)!r} is looked for on the machine of the service at {self.address}, where a relative path means nothing",
                hint="Name it from the root of that machine, below a folder of its allowed_roots.",
                path=str(path),
            )
        return path.absolute()


class Patience:
    """How long a service that went away is waited for. ``lost``: the last stream did not end by itself."""

    def __init__(self, address: str, patience_s: float, hint: str) -> None:
        self._address = address
        self._hint = hint
        self._patience_s = patience_s
        self._until: float | None = None
        self.lost = False

    def renew(self) -> None:
        """It answered."""
        self._until = None

    def wait_after(self, error: SluiceError, cause: BaseException) -> None:
        """Returns when it is time to ask again. Raises the error when asking again cannot help, or was tried for long enough."""
        if not error.fields.get("lost"):
            raise error from cause
        self.lost = True
        if self._until is None:
            self._until = time.monotonic() + self._patience_s
            log.warning("the service at %s went away; waiting up to %.0f s for it", self._address, self._patience_s)
        if time.monotonic() >= self._until:
            raise UnavailableError(
                f"the service at {self._address} went away and did not come back within {self._patience_s:g} s",
                hint=self._hint,
                cause=error.message,
            ) from cause
        time.sleep(_PAUSE_S)


def _error_of_status(code: grpc.StatusCode, details: str, address: str, hints: Hints) -> SluiceError:
    """For a status that no Runner chose: it is gRPC's own."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return RequestError(f"the service takes no request of this size: {details}", hint="Its setting max_request_bytes is the limit.")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConfigurationError(f"the service at {address} is of another version: {details}", hint=hints.other_version)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnavailableError(f"the service at {address} did not answer in time", hint=hints.late)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        reason = details.rpartition("last error: UNKNOWN: ")[2]  # of what gRPC says before it, each word is the same
        hint = _DISTRUST if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details else hints.unreachable
        return UnavailableError(f"the service at {address} cannot be reached: {reason}", hint=hint, lost=True)
    return InternalError(f"the service at {address} failed: {code.name}: {details}", hint="Its log says why.")


def _doubtful(error: SluiceError, method: str) -> SluiceError:
    """After a lost connection nobody knows whether a change was made."""
    if not error.fields.get("lost"):
        return error
    return UnavailableError(f"{error.message}; whether {method} was done is not known", hint="Look first, then ask again.", method=method)


def _host_path(path: Path) -> str:
    """The messages have no other bytes than Unicode's."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{text!r} has a name that is not Unicode", hint="Rename it, or work without the service: --embed.") from error
    return text


def _read_authority(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the certificate {file} cannot be read: {error.strerror}", hint="Name a readable file.") from error
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ConfigurationError(f"{file} holds no certificate in PEM form", hint="It has a line -----BEGIN CERTIFICATE-----.")
    return data


def _os_user() -> str:
    """Metadata are ASCII."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        name = str(os.getuid())
    return name.encode("ascii", "backslashreplace").decode()

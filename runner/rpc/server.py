"""The server: its event loop in a thread of its own, one gRPC server per door, beside the health and reflection services."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from contracts.errors import ConfigurationError
from runner.addresses import Address, cannot_listen, parse_address, refuse_unusable
from runner.rpc.certificate import Certificate
from runner.rpc.doors import Door, TcpDoor, UnixDoor
from runner.rpc.refusals import refuse_unknown
from runner.rpc.servicer import SERVICE, Servicer, Work
from runner.settings import Settings
from runner.socket_file import choose_socket, placing, record_socket, remove_socket

if TYPE_CHECKING:
    from runner.service import Runner

log = logging.getLogger(__name__)
_HEALTH = health.SERVICE_NAME
#: A client that does not answer a ping is gone, and with it what it asked for; one may ping as often itself.
_PING_S, _PING_TIMEOUT_S = 30, 10


def check_tcp(settings: Settings) -> Address:
    """The address of ``listen_tcp``. Raises ``ConfigurationError`` for one that is none, and when a file that it needs is not named or no use."""
    address = parse_address(settings.listen_tcp, "listen_tcp")
    for name in ("tls_certificate", "tls_key", "token_file"):
        if not getattr(settings, name):
            raise ConfigurationError(
                f"listen_tcp is {settings.listen_tcp}, and the setting {name} is empty",
                hint="Over TCP a service needs tls_certificate, tls_key and token_file.",
                setting=name,
            )
    Certificate(settings)
    TcpDoor(settings)
    return address


class RpcServer:
    """``start`` it once, then ``stop`` it. In between nothing here needs the caller's attention."""

    def __init__(self, runner: Runner, settings: Settings) -> None:
        self._runner = runner
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Future[float] | None = None
        self._thread: threading.Thread | None = None
        self._work: Work | None = None

    @property
    def open_streams(self) -> int:
        """How many clients watch, follow or wait for something long."""
        return self._work.open_streams if self._work else 0

    def start(self) -> list[str]:
        """The addresses where requests are accepted from now on. Raises ``ConfigurationError``, ``ConflictError``."""
        started: Future[list[str]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="rpc loop", daemon=True)
        self._thread.start()
        return started.result()

    def stop(self, grace_s: float) -> None:
        """New requests are refused, watchers told; what is still at work after the grace is cut off. May be repeated."""
        if self._thread is None or self._loop is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._end, grace_s)
        self._thread.join()

    def _end(self, grace_s: float) -> None:
        if self._ending and not self._ending.done():
            self._ending.set_result(grace_s)

    async def _serve(self, started: Future[list[str]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = self._loop.create_future()
        self._work = Work(self._runner, self._settings)
        doors = _Doors(self._work, self._settings)
        try:
            addresses = await doors.open()
        except BaseException as error:
            await doors.close(0.0)
            started.set_exception(error)
            return
        started.set_result(addresses)
        log.info("listening at %s", ", ".join(addresses))
        await doors.close(await self._ending)


class _Doors:
    """The servers and what they leave in the file system."""

    def __init__(self, work: Work, settings: Settings) -> None:
        self._work = work
        self._settings = settings
        self._servers: list[grpc.aio.Server] = []
        self._health: list[health.aio.HealthServicer] = []
        self._socket: Path | None = None

    async def open(self) -> list[str]:
        addresses = [await self._open_unix()]
        if self._settings.listen_tcp:
            addresses.append(await self._open_tcp())
        for server in self._servers:
            await server.start()
        return addresses

    async def close(self, grace_s: float) -> None:
        if self._socket:
            remove_socket(self._settings.home, self._socket)
        self._work.close()
        for servicer in self._health:
            await servicer.enter_graceful_shutdown()
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))

    async def _open_unix(self) -> str:
        server = await self._make_server(UnixDoor(self._settings))
        path = choose_socket(self._settings)
        with placing(path) as bound:
            _bind_unix(server, bound, path)
        self._socket = path
        record_socket(self._settings.home, path)
        return f"unix:{path}"

    async def _open_tcp(self) -> str:
        settings = self._settings
        address = check_tcp(settings)
        server = await self._make_server(TcpDoor(settings))
        refuse_unusable(address, "listen_tcp")  # it says why; gRPC does not
        try:
            port = server.add_secure_port(str(address), Certificate(settings).credentials())
        except RuntimeError as error:
            raise cannot_listen(address, "listen_tcp", str(error)) from error
        return str(replace(address, port=port))

    async def _make_server(self, door: Door) -> grpc.aio.Server:
        server = grpc.aio.server(options=_options(self._settings), interceptors=[_Guard(door)])
        server.add_generic_rpc_handlers((Servicer(self._work, door).handlers(),))
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection((SERVICE.full_name, _HEALTH, reflection.SERVICE_NAME), server)
        for name in (SERVICE.full_name, health.OVERALL_HEALTH):
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._servers.append(server)
        self._health.append(servicer)
        return server


class _Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """SECURITY: whom the door does not know gets nothing but the health of the service. The service's own methods ask again, for the user."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        if details.method.startswith(f"/{_HEALTH}/") or self._door.caller(details.invocation_metadata):
            return await continuation(details)
        return grpc.unary_unary_rpc_method_handler(_refuse_unknown)


async def _refuse_unknown(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await refuse_unknown(context)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", _PING_S * 1000),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_S * 500),
    ]


def _bind_unix(server: grpc.aio.Server, bound: Path, path: Path) -> None:
    """At ``bound``, which is to become ``path``."""
    try:
        server.add_insecure_port(f"unix:{quote(os.fsencode(bound))}")
    except RuntimeError as error:
        raise ConfigurationError(
            f"the service cannot listen at unix:{path}: {error}",
            hint="Is it in use? Choose another in the setting listen.",
            setting="listen",
        ) from error

"""Addresses of TCP as settings and options have them: ``host:port``, an IPv6 host in brackets."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Any

from contracts.errors import ConfigurationError

_MOST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """``host`` without brackets; ``port`` 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, setting: str) -> Address:
    """The address that a setting names. Raises ``ConfigurationError`` with the setting and its value."""
    host, _, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host) or not _is_port(port):
        raise ConfigurationError(
            f"the setting {setting} is {text!r}, not host:port",
            hint="Write it like 127.0.0.1:7443, or [::1]:7443 for IPv6.",
            setting=setting,
            address=text,
        )
    return Address(bare, int(port))


def refuse_unusable(address: Address, setting: str) -> None:
    """Raises ``ConfigurationError`` when nobody can listen there now: a port in use, an address of another host. Leaves nothing open."""
    try:
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise cannot_listen(address, setting, error.strerror or str(error)) from error
    troubles = [trouble for place in places if (trouble := _trouble_at(*place))]
    in_use = [trouble for trouble in troubles if trouble.errno == errno.EADDRINUSE]
    if in_use or len(troubles) == len(places):  # a host name may also stand for an address that this host lacks, such as ::1
        worst = (in_use or troubles)[0]
        raise cannot_listen(address, setting, worst.strerror or str(worst)) from worst


def cannot_listen(address: Address, setting: str, why: str) -> ConfigurationError:
    """The one way in which every door says so."""
    return ConfigurationError(
        f"the service cannot listen at {address}: {why}",
        hint=f"Name a free port and an address of this host in the setting {setting}; 0.0.0.0 means every address.",
        setting=setting,
        address=str(address),
    )


def _trouble_at(family: int, kind: int, protocol: int, _name: str, place: Any) -> OSError | None:
    """What keeps a socket from being bound there."""
    try:
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a port that was let go lately is free
            trial.bind(place)
    except OSError as error:
        return error
    return None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= _MOST_PORT

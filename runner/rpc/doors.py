"""Who asks, and what that person may name: the unix socket is open to its owner alone, TCP to those with a token."""

from __future__ import annotations

import hmac
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError, RequestError
from contracts.rpc.failures import find_metadata
from runner.settings import Settings

log = logging.getLogger(__name__)
USER_KEY = "sluice-user"
TOKEN_KEY = "authorization"  # noqa: S105 - the name of a key
LEAST_TOKEN_LENGTH = 16

Metadata = Iterable[tuple[str, Any]] | None


@dataclass(frozen=True)
class Caller:
    """Who asks. ``user`` '': nobody said. ``roots`` None: any file of the host may be named."""

    user: str
    roots: tuple[Path, ...] | None
    may_act_for_others: bool

    def acting(self, named: str | None) -> str | None:
        """The user that a request is for. Raises ``RequestError`` for one that this caller may not speak for."""
        if named and named != self.user and not self.may_act_for_others:
            raise RequestError(f"the token is {self.user}'s, not {named}'s", hint="Leave the user out.", user=named)
        return named or self.user or None

    def check_path(self, text: str, field: str) -> Path:
        """The path with every link followed. Raises ``RequestError`` where it may not be named."""
        if not text or not Path(text).is_absolute():
            raise RequestError(
                f"{field} {text!r} is not an absolute path", hint="Name it from the root of the service's host.", field=field
            )
        try:
            path = Path(os.path.realpath(text))
        except ValueError as error:  # a zero byte
            raise RequestError(f"{field} {text!r} is not a path: {error}", hint="Correct it.", field=field) from error
        if self.roots is not None and not any(path.is_relative_to(root) for root in self.roots):
            known = ", ".join(map(str, self.roots)) or "none"
            raise RequestError(
                f"{field} {text!r} is outside of the folders that requests may name: {known}",
                hint="Put the file below one of them, or ask the operator for another in the setting allowed_roots.",
                field=field,
                setting="allowed_roots",
            )
        return path


class Door(ABC):
    """One way in."""

    @abstractmethod
    def caller(self, metadata: Metadata) -> Caller | None:
        """Who asks; None when that cannot be told and must be."""


class UnixDoor(Door):
    """The file system lets in only the socket's owner, who says which person of theirs it is."""

    def __init__(self, settings: Settings) -> None:
        self._roots = read_roots(settings) or None

    def caller(self, metadata: Metadata) -> Caller:
        return Caller(str(find_metadata(metadata, USER_KEY) or ""), self._roots, may_act_for_others=True)


class TcpDoor(Door):
    """``authorization: Bearer TOKEN`` with a token of the token file, which is read again when it changes."""

    def __init__(self, settings: Settings) -> None:
        self._roots = read_roots(settings)
        self._file = Path(settings.token_file).expanduser()
        self._stamp = self._stamp_now()
        self._users = read_tokens(self._file)

    def caller(self, metadata: Metadata) -> Caller | None:
        word, _, token = str(find_metadata(metadata, TOKEN_KEY) or "").partition(" ")
        if word.lower() != "bearer":
            return None
        user = _find_user(self._known(), token.strip())
        return Caller(user, self._roots, may_act_for_others=False) if user else None

    def _known(self) -> dict[bytes, str]:
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._users = read_tokens(self._file)
            except ConfigurationError as error:
                log.error("the former tokens stay valid: %s", error)
        return self._users

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def read_tokens(file: Path) -> dict[bytes, str]:
    """User by token. Raises ``ConfigurationError`` naming the line; never with a token in its words."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the token file {file} cannot be read: {error}", hint="It has lines `user token`.", setting="token_file"
        ) from error
    users: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or len(words[1]) < LEAST_TOKEN_LENGTH or words[1].encode() in users:
            raise ConfigurationError(
                f"{file}:{number}: not a user and a token of its own of at least {LEAST_TOKEN_LENGTH} characters",
                hint="Make one: python3 -c 'import secrets; print(secrets.token_hex(20))'",
                setting="token_file",
            )
        users[words[1].encode()] = words[0]
    return users


def read_roots(settings: Settings) -> tuple[Path, ...]:
    """The folders of ``allowed_roots``, links followed."""
    return tuple(Path(os.path.realpath(Path(text).expanduser())) for text in settings.allowed_roots.split(":") if text.strip())


def _find_user(users: dict[bytes, str], token: str) -> str:
    """SECURITY: every token is compared, in constant time, so that the time tells nothing about them."""
    found = ""
    for known, user in users.items():
        if hmac.compare_digest(known, token.encode()):
            found = user
    return found

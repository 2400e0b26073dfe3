"""Where the unix socket of a home's service is, for the service that makes it and for those who look for it.

It is ``listen``, or ``<home>/sluice.sock``. The kernel takes paths of at most 107 bytes: in a home with a longer name the socket lies in
``$XDG_RUNTIME_DIR`` or a folder of ours in /tmp. Wherever it is not ``<home>/sluice.sock``, ``<home>/sluice.sock.path`` says where.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import ConfigurationError, ConflictError
from runner.settings import Settings

MAX_PATH_BYTES = 107
_CONNECT_S = 5.0


def find_socket(settings: Settings) -> Path | None:
    """The socket of this home's service when somebody listens there. Imports nothing of gRPC: every command asks."""
    for path in (_recorded(settings.home), _wanted(settings)):
        if path and _fits(path) and _is_ours(path, settings.home) and is_answered(path):
            return path
    return None


def is_answered(path: Path) -> bool:
    """Whether a process accepts connections there; False for a file that a killed one left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_S)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def choose_socket(settings: Settings) -> Path:
    """Where the service is to listen. Raises ``ConfigurationError``, and ``ConflictError`` when somebody listens there already."""
    path = _wanted(settings)
    if not _fits(path):
        if settings.listen:
            raise ConfigurationError(
                f"the path of the socket {path} has {len(os.fsencode(path))} bytes; the kernel takes {MAX_PATH_BYTES}",
                hint="Name a shorter one in the setting listen.",
                setting="listen",
            )
        path = _short_folder() / f"{hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]}.sock"
    if is_answered(path):
        raise ConflictError(f"another service listens at {path}", hint="Stop it first, or name another socket in the setting listen.")
    if path.exists() and not path.is_socket():
        raise ConfigurationError(
            f"{path} is no socket, so none can be made there", hint="Remove it, or name another in the setting listen."
        )
    return path


@contextmanager
def placing(path: Path) -> Iterator[Path]:
    """A path to bind at; afterwards the socket stands at ``path``, for its owner alone.

    SECURITY: made in a folder that nobody else may enter, so that there is no moment at which others could connect; no umask of the whole process.
    """
    folder = path.parent / f".{secrets.token_hex(2)}"
    bound = folder / "s"
    if not _fits(bound):
        raise ConfigurationError(
            f"the path {path} is too long for a socket", hint="Name a shorter one in the setting listen.", setting="listen"
        )
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"{path.parent} takes no socket: {error.strerror}", hint="Name another in the setting listen.") from error
    try:
        yield bound
        bound.chmod(0o600)
        bound.replace(path)
    finally:
        with suppress(FileNotFoundError):
            bound.unlink()
        folder.rmdir()


def record_socket(home: Path, path: Path) -> None:
    """Lets commands find the socket."""
    record = home / "sluice.sock.path"
    if path == home / "sluice.sock":
        record.unlink(missing_ok=True)
        return
    aside = home / f".sluice.sock.path.{secrets.token_hex(4)}"
    aside.write_bytes(os.fsencode(path))
    aside.replace(record)


def remove_socket(home: Path, path: Path) -> None:
    """When the service ends in peace."""
    path.unlink(missing_ok=True)
    (home / "sluice.sock.path").unlink(missing_ok=True)


def _wanted(settings: Settings) -> Path:
    return Path(settings.listen).expanduser().absolute() if settings.listen else settings.home / "sluice.sock"


def _recorded(home: Path) -> Path | None:
    try:
        text = (home / "sluice.sock.path").read_bytes()
    except OSError:
        return None
    return Path(os.fsdecode(text)) if text else None


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= MAX_PATH_BYTES


def _is_ours(path: Path, home: Path) -> bool:
    """SECURITY: a socket in /tmp could be anybody's; it must belong to whom the home belongs."""
    try:
        return path.stat().st_uid == home.stat().st_uid
    except OSError:
        return False


def _short_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) if runtime and Path(runtime).is_dir() else Path("/tmp")  # noqa: S108 - the kernel needs a short path
    folder = folder / f"sluice-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{folder} is not a folder of yours alone", hint="Remove it, or name a short path in the setting listen.")
    return folder

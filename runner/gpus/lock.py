"""One lock for the whole host, taken from the last look at a card until its container has started.

Between the two, another installation on the host could look as well, and both would start on the same card.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import ConfigurationError, NoGpuError
from runner.locks import try_lock

DEFAULT_FILE = Path("/run/lock/sluice-gpu.lock")
_LOOK_EVERY_S = 0.05
#: Longer than an engine may take to start a container.
_PATIENCE_S = 600.0


@contextmanager
def host_lock(file: Path = DEFAULT_FILE, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Held inside the block, by one thread of one process on the host. The lock goes with its process, however that ends.

    Where ``file`` cannot be used it is one for this user. Raises ``NoGpuError`` when somebody else has it for ``patience_s``.
    """
    descriptor = _open(file)
    try:
        _take(descriptor, file, patience_s)
        yield
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    own = Path(tempfile.gettempdir(), f"sluice-gpu-{os.getuid()}.lock")
    try:
        return _open_one(file)
    except OSError:
        pass
    try:
        return _open_one(own)
    except OSError as error:
        raise ConfigurationError(
            f"neither {file} nor {own} can be opened: {error}", hint="Name a file with the setting gpu_lock."
        ) from error


def _open_one(file: Path) -> int:
    """Reading is enough to lock: the file may belong to another user. Kernels refuse O_CREAT on such a file in a folder that all may write."""
    # SECURITY: in a folder that all may write, a link could point anywhere.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(file, flags)
    except FileNotFoundError:
        descriptor = os.open(file, flags | os.O_CREAT, 0o644)
        with suppress(OSError):
            os.fchmod(descriptor, 0o644)  # whatever the umask: other users must be able to read it
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{file} is no file")
    return descriptor


def _take(descriptor: int, file: Path, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while not try_lock(descriptor):
        if time.monotonic() >= end:
            raise NoGpuError(
                f"another program has held the lock {file} for {patience_s:.0f} s", hint=f"`lsof {file}` says which.", file=str(file)
            )
        time.sleep(_LOOK_EVERY_S)

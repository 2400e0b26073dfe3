"""Who adds assets and who frees them never work at once: between an asset and the version that refers to it nothing may take it away.

A lock file in the home, shared by imports, exclusive for gc; the system lets go of it when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import UnavailableError
from runner.locks import try_lock

_NAME = "assets.lock"


@contextmanager
def adding_assets(home: Path) -> Iterator[None]:
    """Inside, no asset is freed. Waits for a gc that is freeing some."""
    with _open(home) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def freeing_assets(home: Path) -> Iterator[bool]:
    """Whether assets may be freed inside: not while something adds some."""
    with _open(home) as descriptor:
        yield try_lock(descriptor)


@contextmanager
def _open(home: Path) -> Iterator[int]:
    try:
        descriptor = os.open(home / _NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnavailableError(
            f"{home / _NAME} cannot be used: {error.strerror}", hint="Is the disk full, or the home read-only?"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)

"""Folders in which something is made before it gets its name, or that are needed for a while: below ``<home>/tmp``, gone at the end.

Each is locked by the process that uses it. What a killed process left has no lock any more and is removed by the next that comes.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.errors import UnavailableError


@contextmanager
def aside_folder(home: Path, purpose: str) -> Iterator[Path]:
    """A new, empty folder on the disk of the home; what is in it at the end of the block is removed."""
    parent = home / "tmp"
    place = parent / f"{purpose}-{secrets.token_hex(8)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(parent)
        lock = _lock(place.with_suffix(".lock"))
    except OSError as error:
        raise UnavailableError(f"{parent} cannot be used: {error.strerror}", hint="Is the disk full, or the home read-only?") from error
    try:
        place.mkdir()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            place.with_suffix(".lock").unlink()
        os.close(lock)


def _lock(file: Path) -> int:
    """The descriptor of a lock file that nobody else has seen unlocked: it is locked under another name first."""
    hidden = file.with_suffix(".new")
    descriptor = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    hidden.rename(file)
    return descriptor


def _remove_orphans(parent: Path) -> None:
    for file in parent.glob("*.lock"):
        with suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for suffix in ("", ".orphan"):
                    shutil.rmtree(file.with_suffix(suffix), ignore_errors=True)
                file.unlink()
            finally:
                os.close(descriptor)

"""Brings what was written onto the disk: many files by one call to the system, where it has one."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Collection
from pathlib import Path

#: Below this many, syncing each costs less than syncing what everybody else has written to the disk as well.
_FEW = 4


def sync_disk(place: Path, paths: Collection[Path]) -> None:
    """Returns when the paths, which lie on the disk of ``place``, are on it. Raises ``OSError`` when writing failed (seen since Linux 5.8)."""
    if len(paths) > _FEW and _SYNCFS is not None:
        _on_descriptor(place, _syncfs)
        return
    for path in paths:
        _on_descriptor(path, _fsync)


def _find_syncfs() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


_SYNCFS = _find_syncfs()


def _syncfs(descriptor: int) -> None:
    if _SYNCFS is not None and _SYNCFS(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _fsync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):  # some network disks cannot sync folders
            raise


def _on_descriptor(path: Path, sync: Callable[[int], object]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)

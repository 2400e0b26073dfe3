"""Many files brought to the disk at once.

One ``fsync`` costs a turn of the disk, and of twenty thousand pictures each would have one. ``syncfs`` (Linux) brings everything that was
written to one file system to the disk and returns when it is there; it is trusted on file systems that are known to do so, and elsewhere (FUSE
answers it without doing anything) every file has its own ``fsync``, several at a time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Of so few files each is synced by itself: the others' data on the disk, which syncfs writes too, may be much.
_FEW = 4
_TRUSTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "tmpfs", "ramfs", "nfs", "nfs4"})


def bring_to_disk(folder: Path, paths: Collection[Path]) -> None:
    """The content of the files (or the names in the folders) is on the disk when this returns. All lie below ``folder``. Raises ``OSError``."""
    if not paths:
        return
    if len(paths) > _FEW and _file_system(os.stat(folder).st_dev) in _TRUSTED and _sync_file_system(folder):  # noqa: PTH116
        return
    if len(paths) <= _FEW:
        for path in paths:
            _sync(path)
        return
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(_sync, paths):
            pass


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if path.is_dir():
            with suppress(OSError):  # some network disks cannot
                os.fsync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: Path) -> bool:
    """Whether it was done. Raises ``OSError`` for a write that the disk did not take (Linux 5.8 and later tell)."""
    call = _syncfs()
    if call is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
    return True


@cache
def _syncfs() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None


@cache
def _file_system(device: int) -> str:
    """Its type, as the kernel lists mounts; '' when it is not listed."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        if left.split()[2] == wanted:
            return right.split()[0]
    return ""

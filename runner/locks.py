"""The one way to ask for a lock without waiting: locks are on open files, and the system lets go of them when a process dies."""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the lock on this open file is ours now, until it is closed. A file opened twice in one process has two locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

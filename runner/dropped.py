"""Large folders that nobody needs any more: put aside in one step, and removed later, in the background.

What you can rely on:

1. ``drop`` does not wait for the removal, however many files there are; the folder is out of its place when it returns.
2. What lies in ``<home>/dropped`` belongs to nobody. A process that is killed while it removes it leaves the rest to the next that runs jobs
   in this home, and to ``sluice gc``; two that remove the same do not disturb each other.
3. No link is followed.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

FOLDER = "dropped"
#: A folder with fewer folders in it than this is removed sooner than somebody else is told to.
_WORTH_WAITING = 64
#: A process that ends gives the removal this long.
_LAST_S = 2.0
_NICE = 10

log = logging.getLogger(__name__)


class Dropped:
    """The folders of one home that wait for their removal. Safe to share between threads; starts one of its own when it is needed."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._again = False
        self._closing = False

    def drop(self, folder: Path) -> None:
        """The folder is gone from its place. Does nothing when it is not there."""
        try:
            if len(os.listdir(folder)) < _WORTH_WAITING:  # noqa: PTH208
                shutil.rmtree(folder, ignore_errors=True)
                return
            self._folder.mkdir(exist_ok=True)
            folder.rename(self._folder / f"{folder.parent.parent.name}-{folder.name}-{secrets.token_hex(4)}")
        except FileNotFoundError:
            return
        except OSError as error:  # such as: the runs lie on a disk of their own
            log.warning("%s is removed where it is: %s", folder, error.strerror)
            shutil.rmtree(folder, ignore_errors=True)
        self.resume()

    def resume(self) -> None:
        """Goes on with what was dropped, by this process or by one that was killed. Returns at once."""
        if not self._folder.exists():
            return
        with self._lock:
            self._again = True
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._work, name="dropped", daemon=True)
                self._thread.start()

    def close(self, wait_s: float = _LAST_S) -> None:
        """Gives the removal a moment; what is left then stays for the next process. May be repeated."""
        with self._lock:
            thread = self._thread
        if thread:
            thread.join(wait_s)
            self._closing = True
            thread.join()  # it looks after each folder

    def _work(self) -> None:
        with suppress(OSError):  # of this thread alone, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while self._goes_on():
            for folder in _children(self._folder):
                _remove(folder, lambda: self._closing)

    def _goes_on(self) -> bool:
        """Whether something was dropped since the last look; else the thread ends, under the lock that a drop takes to start another."""
        with self._lock:
            if not self._again or self._closing:
                self._thread = None
                return False
            self._again = False
            return True


def _remove(folder: Path, stop: Callable[[], bool]) -> None:
    """One folder of it at a time, so that a process that ends need not wait for a million files."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    for path in _children(folder):
        if stop():
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be removed", folder)


def _children(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError as error:
        log.warning("%s cannot be listed: %s", folder, error.strerror)

"""The local files of a store that is elsewhere: as many as a size allows, the least recently used go first, never one that is in use.

In use is a file that a process holds (``holding``), or that has a second name: a job's folder links to what it was given, and to take away the
first name would free nothing. Processes share a cache by three rules:

1. ``holds/<token>`` lists what one process holds, a line ``<size> <ab/name>`` each. The process locks the file for as long as it holds them: of one
   that was killed the lock is free, and whoever comes next removes it.
2. Holds are entered, and files chosen to go, under the lock of ``cache.lock``: what is entered is seen by whoever chooses, and the other way round.
3. A file is written aside and verified before it has its name (``plugins.stores.shelf``); of two processes that fetch the same one the second finds it.

What a process holds and has not fetched yet counts as there, so two that fetch at once do not fill the disk together.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contracts.dataset import Asset
from contracts.errors import ConfigurationError, UnavailableError
from plugins.stores.shelf import Aside, Shelf, check_name

_AT_ONCE = 256  # files that are brought to the disk together

#: Writes files with these names to the places given, verified; an error leaves out the files after it.
Fetch = Callable[[Sequence[Asset], Sequence[Path]], None]


class Cache:
    """A folder of at most ``largest_bytes``; it is made with the first file."""

    def __init__(self, folder: Path, largest_bytes: int, fetch: Fetch) -> None:
        self.folder = folder
        self.largest_bytes = largest_bytes
        self._fetch = fetch
        self._shelf = Shelf(folder)

    def path(self, sha1: str, extension: str) -> Path:
        return self._shelf.target(sha1, extension)

    @contextmanager
    def holding(self, files: Sequence[Asset]) -> Iterator[None]:
        """As ``Store.holding``: what is missing is fetched, and everything counts as just used."""
        wanted = {check_name(file.id, file.extension): file for file in files}
        hold = self._enter_hold(wanted)
        try:
            missing = [file for name, file in wanted.items() if not self._use(name)]
            self._fetch_all(missing)
            yield
        finally:
            self._leave_hold(hold)

    def forget(self, sha1: str, extension: str) -> None:
        """Take a file out, if it is there."""
        with suppress(OSError):
            self.path(sha1, extension).unlink()

    def _use(self, name: str) -> bool:
        """Whether it is there; its time is that of its last use."""
        try:
            os.utime(self.folder / name)
        except OSError:
            return False
        return True

    def _fetch_all(self, missing: Sequence[Asset]) -> None:
        for begin in range(0, len(missing), _AT_ONCE):
            some = missing[begin : begin + _AT_ONCE]
            targets = [self.path(file.id, file.extension) for file in some]
            places = [self._shelf.aside(target) for target in targets]
            try:
                self._fetch(some, places)
                for place in places:
                    place.chmod(0o444)
                self._shelf.name_all([Aside(place, target) for place, target in zip(places, targets, strict=True)])
            except OSError as error:
                raise self._cannot(error) from error
            finally:
                for place in places:
                    with suppress(OSError):
                        place.unlink()

    def _cannot(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"the cache {self.folder} cannot be used: {error.strerror}", hint="Is the disk full, or the home read-only?"
        )

    # ---------------------------------------------------------------------------------------------------------------- holds

    def _enter_hold(self, wanted: Mapping[str, Asset]) -> tuple[Path, int]:
        """The hold's file and its locked descriptor. Room is made in the same moment.

        Raises ``UnavailableError`` where there is not enough now, ``ConfigurationError`` where there never is.
        """
        try:
            (self.folder / "holds").mkdir(parents=True, exist_ok=True)
            with self._alone():
                hold = self._write_hold("".join(f"{file.size_bytes} {name}\n" for name, file in wanted.items()))
                try:
                    self._check_alone(wanted.values())
                    if not all((self.folder / name).exists() for name in wanted):
                        self._make_room()
                except BaseException:
                    self._leave_hold(hold)
                    raise
                return hold
        except OSError as error:
            raise self._cannot(error) from error

    def _write_hold(self, text: str) -> tuple[Path, int]:
        file = self.folder / "holds" / secrets.token_hex(16)
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with os.fdopen(os.dup(descriptor), "w") as opened:
                opened.write(text)
        except BaseException:
            self._leave_hold((file, descriptor))
            raise
        return file, descriptor

    def _leave_hold(self, hold: tuple[Path, int]) -> None:
        file, descriptor = hold
        file.unlink(missing_ok=True)
        os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self.folder / "cache.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _held(self) -> dict[str, int]:
        """Name to bytes of everything that a living process holds. Files of dead ones are removed."""
        held: dict[str, int] = {}
        for file in (self.folder / "holds").iterdir():
            if not _is_locked(file):
                file.unlink(missing_ok=True)
                continue
            with suppress(FileNotFoundError):  # it was left at this moment
                for line in file.read_text(encoding="ascii").splitlines():
                    size, _, name = line.partition(" ")
                    held[name] = int(size)
        return held

    # ----------------------------------------------------------------------------------------------------------------- room

    def _make_room(self) -> None:
        """Lets go of the least recently used until what is there and what is on its way fit. Only under ``_alone``."""
        held, present = self._held(), self._present()
        used_bytes = sum(file.size_bytes for file in present.values())
        used_bytes += sum(size for name, size in held.items() if name not in present)
        if used_bytes <= self.largest_bytes:
            return
        idle = sorted((file for name, file in present.items() if name not in held and not file.linked), key=lambda file: file.used_at)
        if used_bytes - sum(file.size_bytes for file in idle) > self.largest_bytes:
            raise self._too_small(used_bytes - sum(file.size_bytes for file in idle))
        for file in idle:
            if used_bytes <= self.largest_bytes:
                return
            file.path.unlink(missing_ok=True)
            used_bytes -= file.size_bytes

    def _check_alone(self, wanted: Iterable[Asset]) -> None:
        """What never fits is no matter of waiting."""
        needed_bytes = sum(file.size_bytes for file in wanted)
        if needed_bytes > self.largest_bytes:
            raise ConfigurationError(
                f"the cache {self.folder} may hold {self.largest_bytes:,} bytes, and this alone needs {needed_bytes:,}",
                hint="Set cache_bytes higher.",
                setting="cache_bytes",
            )

    def _too_small(self, needed_bytes: int) -> UnavailableError:
        return UnavailableError(
            f"the cache {self.folder} may hold {self.largest_bytes:,} bytes, and what jobs use at this moment and this one needs "
            f"is {needed_bytes:,}",
            hint="Set cache_bytes higher, or wait until other jobs have ended and their folders are freed (sluice gc).",
            setting="cache_bytes",
        )

    def _present(self) -> dict[str, _Cached]:
        found: dict[str, _Cached] = {}
        for file in self._shelf.list_files(lambda _, __: None):
            assert file.path is not None  # noqa: S101 - a shelf's always has one
            with suppress(OSError):
                facts = file.path.stat()
                name = check_name(file.sha1, file.extension)
                found[name] = _Cached(file.path, facts.st_size, facts.st_mtime, facts.st_nlink > 1)
        return found


@dataclass(frozen=True)
class _Cached:
    """``linked``: a job's folder has it under another name."""

    path: Path
    size_bytes: int
    used_at: float
    linked: bool


def _is_locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

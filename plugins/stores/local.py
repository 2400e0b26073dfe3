"""Assets and model files in a local folder, by content: ``<folder>/ab/<sha1>.<ext>`` where ab are the last two hex digits."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, ClassVar

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import Store

_SHA1 = re.compile(r"[0-9a-f]{40}")
_EXTENSION = re.compile(r"[a-z0-9]{1,16}")
_CHUNK_BYTES = 1024**2
_STALE_S = 24 * 3600
#: About what a name takes in a folder's own size, on the usual disks, and how many names are listed in the time that one look at a file takes.
_ENTRY_BYTES = 64
_LOOKS_FOR_A_FILE = 10


class LocalStore(Store):
    """A folder on a local or network disk. Threads and processes may add to it at once, the same content included.

    1. A file in the store is whole: it is written aside, synced to disk and only then given its name.
    2. It is read-only and never overwritten: whoever comes second finds it there.
    3. What a killed process left aside (``<folder>/.incoming``) is swept a day later.
    """

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path) -> None:
        """Touches no disk; the folder is made with the first file."""
        self.folder = folder
        self._incoming = folder / ".incoming"
        self._swept = False

    def add_bytes(self, content: bytes, sha1: str, extension: str) -> Path:
        target = self._target(sha1, extension)
        if target.exists():
            return target
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != sha1:
            raise DatasetError(f"the content given for {sha1}.{extension} is another one", sha1=sha1)
        with self._placing(target) as file:
            file.write(content)
        return target

    def add_file(self, path: Path, sha1: str, extension: str) -> Path:
        target = self._target(sha1, extension)
        try:
            source = path.open("rb")
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}", sha1=sha1) from error
        with source, self._placing(target) as file:
            digest = _copy(source, file)
            if digest != sha1:
                raise DatasetError(f"the content of {path} is not {sha1} but {digest}", hint="It was changed meanwhile.", sha1=sha1)
        return target

    def find(self, sha1: str, extension: str) -> Path | None:
        target = self._target(sha1, extension)
        return target if target.is_file() else None

    def folder_of_all(self) -> Path | None:
        return self.folder

    def missing(self, folder: str, file_names: Sequence[str]) -> list[str]:
        """As the seam says. One listing of the folder instead of a look at each file, where the job needs a fair part of it."""
        place = self.folder / folder
        try:
            entries = place.stat().st_size // _ENTRY_BYTES
        except FileNotFoundError:
            return list(file_names)
        if entries > len(file_names) * _LOOKS_FOR_A_FILE:
            return super().missing(folder, file_names)
        there = set(os.listdir(place))  # noqa: PTH208 - thousands of them
        return [name for name in file_names if name not in there]

    def _target(self, sha1: str, extension: str) -> Path:
        """SECURITY: both parts become a path; anything but a hash and a plain extension is refused."""
        if not _SHA1.fullmatch(sha1) or not _EXTENSION.fullmatch(extension):
            raise DatasetError(f"{sha1[:60]!r}.{extension[:20]!r} is no name of a stored file", hint="A name is <sha1>.<extension>.")
        return self.folder / sha1[-2:] / f"{sha1}.{extension}"

    @contextmanager
    def _placing(self, target: Path) -> Iterator[BinaryIO]:
        """A file aside that gets the target's name when the block ends well, and goes away when it does not."""
        self._prepare(target)
        aside = self._incoming / secrets.token_hex(16)
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            _give_name(aside, target)
        except OSError as error:
            raise UnavailableError(
                f"{target.name} cannot be stored in {self.folder}: {error.strerror}", hint="Is the disk full?"
            ) from error
        finally:
            with suppress(OSError):
                aside.unlink()

    def _prepare(self, target: Path) -> None:
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"the store {self.folder} cannot be written: {error.strerror}") from error
        if not self._swept:
            self._swept = True
            _sweep(self._incoming)


def _give_name(aside: Path, target: Path) -> None:
    """Link, which never replaces; where the disk knows no hard links, rename: the content is the same anyway."""
    try:
        os.link(aside, target)
    except FileExistsError:
        pass
    except OSError:
        aside.replace(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """The name itself is on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network disks cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _sweep(incoming: Path) -> None:
    for file in incoming.iterdir():
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - _STALE_S:
                file.unlink()

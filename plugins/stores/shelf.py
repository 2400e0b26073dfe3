"""A folder of files by content: ``<folder>/ab/<sha1>.<ext>`` where ab are the last two hex digits. Used by the local store and by caches.

Threads and processes may add to it at once, the same content included.

1. A file with a name is whole: it is written aside, brought to the disk and only then given its name.
2. It is read-only and never overwritten: whoever comes second finds it there. Only one of another size, which somebody has cut or a
   disk has lost, is replaced by the whole one.
3. What a killed process left aside (``<folder>/.incoming``) is swept a day later.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import NewFile, OnProblem, StoredFile
from plugins.stores.durable import bring_to_disk

_SHA1 = re.compile(r"[0-9a-f]{40}")
_EXTENSION = re.compile(r"[a-z0-9]{1,16}")
_STORED = re.compile(r"([0-9a-f]{38}([0-9a-f]{2}))\.([a-z0-9]{1,16})")
_CHUNK_BYTES = 1024**2
_STALE_S = 24 * 3600


def check_name(sha1: str, extension: str) -> str:
    """``ab/<sha1>.<ext>``. SECURITY: both parts become a path; anything but a hash and a plain extension is refused."""
    if not _SHA1.fullmatch(sha1) or not _EXTENSION.fullmatch(extension):
        raise DatasetError(f"{sha1[:60]!r}.{extension[:20]!r} is no name of a stored file", hint="A name is <sha1>.<extension>.")
    return f"{sha1[-2:]}/{sha1}.{extension}"


def parse_name(name: str) -> tuple[str, str] | None:
    """The hash and extension of ``ab/<sha1>.<ext>``; None for anything else."""
    shard, _, file_name = name.partition("/")
    match = _STORED.fullmatch(file_name)
    return (match[1], match[3]) if match and match[2] == shard else None


@dataclass(frozen=True)
class Aside:
    """A file that is written and has no name yet. ``mends``: the file that has the name is not whole."""

    path: Path
    target: Path
    mends: bool = False


class Shelf:
    """The folder; it is made with the first file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / ".incoming"
        self._swept = False

    def target(self, sha1: str, extension: str) -> Path:
        return self.folder / check_name(sha1, extension)

    def add_many(self, files: Sequence[NewFile]) -> None:
        """As ``Store.add_many``: all are written aside, one sync, then the names, one sync. After an error those before it may be there."""
        targets = [self.target(file.sha1, file.extension) for file in files]
        waiting: list[Aside] = []
        try:
            for file, target in zip(files, targets, strict=True):
                there = _size(target)
                if there is None:
                    waiting.append(self._written(file, target))
                elif there != _size_of(file):
                    waiting.append(replace(self._written(file, target), mends=True))
        finally:  # an error of one file is not that of those before it
            self.name_all(waiting)

    def name_all(self, waiting: Sequence[Aside]) -> None:
        """Give the files that are written their names, so that each is whole or absent after a power cut at any moment."""
        try:
            bring_to_disk(self.folder, [aside.path for aside in waiting])
            for aside in waiting:
                _give_name(aside)
            bring_to_disk(self.folder, {aside.target.parent for aside in waiting})
        except OSError as error:
            raise self._cannot(error) from error
        finally:
            for aside in waiting:
                with suppress(OSError):
                    aside.path.unlink()

    def aside(self, target: Path) -> Path:
        """Where a file for this target may be written; not made yet. Its name is nobody else's."""
        self._prepare(target)
        return self._incoming / secrets.token_hex(16)

    def _written(self, file: NewFile, target: Path) -> Aside:
        place = self.aside(target)
        try:
            with place.open("xb") as written:
                _fill(file, written)
                os.fchmod(written.fileno(), 0o444)
        except BaseException as error:
            with suppress(OSError):
                place.unlink()
            if isinstance(error, OSError):
                raise self._cannot(error) from error
            raise
        return Aside(place, target)

    def _cannot(self, error: OSError) -> UnavailableError:
        return UnavailableError(f"files cannot be stored in {self.folder}: {error.strerror}", hint="Is the disk full?")

    def _prepare(self, target: Path) -> None:
        try:
            if not self._swept:
                self._incoming.mkdir(parents=True, exist_ok=True)
                _sweep(self._incoming)
                self._swept = True
            target.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"the store {self.folder} cannot be written: {error.strerror}") from error

    # ------------------------------------------------------------------------------------------------------ list and remove

    def list_files(self, on_problem: OnProblem) -> Iterator[StoredFile]:
        """As ``Store.list_files``. Links are not followed: one may be somebody's way to another disk."""
        for shard in self._shards(on_problem):
            try:
                with os.scandir(shard) as entries:
                    for entry in entries:
                        if found := self._stored(shard.name, entry):
                            yield found
            except OSError as error:
                on_problem(str(shard), error.strerror or str(error))

    def _shards(self, on_problem: OnProblem) -> list[Path]:
        try:
            found = sorted(path for path in self.folder.iterdir() if re.fullmatch("[0-9a-f]{2}", path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            on_problem(str(self.folder), error.strerror or str(error))
            return []
        for link in (path for path in found if path.is_symlink()):
            on_problem(str(link), "it is a link, which is not followed")
        return [path for path in found if not path.is_symlink() and path.is_dir()]

    def _stored(self, shard: str, entry: os.DirEntry[str]) -> StoredFile | None:
        name = parse_name(f"{shard}/{entry.name}")
        if name is None:
            return None
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        return StoredFile(*name, facts.st_size, facts.st_mtime, Path(entry.path))

    def remove(self, files: Sequence[StoredFile], on_problem: OnProblem) -> list[StoredFile]:
        """As ``Store.remove``."""
        gone = []
        for file in files:
            target = self.target(file.sha1, file.extension)
            try:
                target.unlink(missing_ok=True)
                gone.append(file)
            except OSError as error:
                on_problem(str(target), error.strerror or str(error))
        return gone


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _size_of(file: NewFile) -> int | None:
    return _size(file.content) if isinstance(file.content, Path) else len(file.content)


def _give_name(aside: Aside) -> None:
    """Link, which never replaces; where the disk knows no hard links, rename: the content is the same anyway."""
    if aside.mends:
        aside.path.replace(aside.target)
        return
    try:
        os.link(aside.path, aside.target)
    except FileExistsError:
        pass
    except OSError:
        aside.path.replace(aside.target)


def _fill(file: NewFile, target: BinaryIO) -> None:
    if isinstance(file.content, bytes):
        target.write(file.content)
        return
    try:
        source = file.content.open("rb")
    except OSError as error:
        raise DatasetError(f"{file.content} cannot be read: {error.strerror}", sha1=file.sha1) from error
    with source:
        digest = _copy(source, target)
    if digest != file.sha1:
        raise DatasetError(
            f"the content of {file.content} is not {file.sha1} but {digest}", hint="It was changed meanwhile.", sha1=file.sha1
        )


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

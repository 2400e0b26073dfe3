"""Zip and tar files unpacked safely into a folder of their own below the home, which goes away again.

SECURITY: an archive is hostile until shown otherwise. Nothing is written outside the folder, no link and no device is made, and what it
unpacks to is limited by counting what really comes out, not by what its headers claim.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from contracts.errors import DatasetError, NotFoundError, UnavailableError
from contracts.seams import Skip
from runner.aside import aside_folder

_CHUNK_BYTES = 1024**2
_LONGEST_NAME_BYTES = 255
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Limits:
    """``ratio``: unpacked to packed bytes of the whole archive; it counts only beyond ``ratio_floor_bytes``, for small archives pack well.

    ``members`` counts folders, links and whatever else an archive lists beside its files.
    """

    files: int = 2_000_000
    members: int = 8_000_000
    total_bytes: int = 512 * 1024**3
    ratio: int = 200
    ratio_floor_bytes: int = 512 * 1024**2


@contextmanager
def unpacked(
    source: Path,
    home: Path,
    *,
    left_out: list[Skip] | None = None,
    limits: Limits = Limits(),
    strict: bool = False,
    on_name: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """The folder itself, or what an archive holds in a folder that exists until the end of the block.

    ``left_out`` receives what was not unpacked, by name: links, devices, names that appear twice; with ``strict`` each of them condemns the whole
    archive. ``on_name`` is told the name of every member as it is written there. Raises ``NotFoundError`` for a path that does not exist,
    ``DatasetError`` for what is neither a folder nor a plain file, and for a file that is no archive, is encrypted or broken, or breaks a limit.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise NotFoundError(f"there is no file or folder {source}", hint="Name a folder, or a zip or tar file.", path=str(source))
    if not source.is_file():  # a device or a pipe is read without an end
        raise DatasetError(f"{source} is a device, a pipe or a socket", hint="Name a folder, or a zip or tar file.", path=str(source))
    with aside_folder(home, "unpacked") as folder:
        unpacking = _Unpacking(source, folder, limits, [] if left_out is None else left_out, strict, on_name)
        _unpack(unpacking)
        yield folder


@dataclass
class _Unpacking:
    """One archive on its way into a folder, with the counts against the limits."""

    source: Path
    folder: Path
    limits: Limits
    left_out: list[Skip]
    strict: bool = False
    on_name: Callable[[str], None] = lambda _: None
    files: int = 0
    members: int = 0
    written_bytes: int = 0
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        packed = self.source.stat().st_size
        by_ratio = max(packed * self.limits.ratio, self.limits.ratio_floor_bytes)
        self.largest_bytes = min(self.limits.total_bytes, by_ratio)

    def meet(self, name: str) -> None:
        """Every member, whatever it is, before anything is done about it."""
        self.members += 1
        if self.members > self.limits.members:
            raise self.refuse(f"lists more than {self.limits.members:,} members", "Unpack it yourself and import the folder.")
        if self.strict and any(ord(c) < 32 or ord(c) == 127 for c in name):
            raise self.refuse(f"holds a name with control characters: {_shown(name)!r}", "Do not trust this archive.")
        self.on_name(name)

    def leave_out(self, name: str, reason: str) -> None:
        if self.strict:
            raise self.refuse(f"holds {_shown(name)!r}: {reason}", "Unpack it yourself, take that out, and import the folder.")
        self.left_out.append(Skip(_shown(name), reason, "file"))

    def refuse(self, reason: str, hint: str = "") -> DatasetError:
        return DatasetError(f"{self.source.name} {reason}", hint=hint, path=str(self.source))

    def target(self, name: str) -> Path | None:
        """Where a member goes; None when it is left out. A name that leads out of the folder condemns the whole archive."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0][1:2] == ":"):
            raise self.refuse(f"holds a file whose name leads out of the folder: {_shown(name)}", "Do not trust this archive.")
        path = PurePosixPath(*parts)
        if any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME_BYTES for part in parts):
            self.leave_out(name, f"its name is longer than {_LONGEST_NAME_BYTES} bytes, as much as a disk takes")
            return None
        if not parts or "\0" in name:
            self.leave_out(name, "its name cannot be used")
            return None
        if str(path) in self.taken:
            self.leave_out(name, "the archive holds another file of this name")
            return None
        self.taken.add(str(path))
        return self.folder / path

    def write(self, name: str, content: IO[bytes]) -> None:
        """Copy one member, as long as the limits allow."""
        self.files += 1
        if self.files > self.limits.files:
            raise self.refuse(f"holds more than {self.limits.files:,} files", "Unpack it yourself and import the folder.")
        target = self.target(name)
        if target is None:
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                self._copy(content, file)
        except (FileExistsError, NotADirectoryError):
            self.leave_out(name, "a file and a folder have the same name")

    def _copy(self, content: IO[bytes], file: IO[bytes]) -> None:
        while chunk := content.read(_CHUNK_BYTES):
            self.written_bytes += len(chunk)
            if self.written_bytes > self.largest_bytes:
                reason = f"unpacks to more than {self.largest_bytes:,} bytes"
                raise self.refuse(reason, "If you trust it, unpack it yourself and import the folder.")
            file.write(chunk)


def _unpack(unpacking: _Unpacking) -> None:
    try:
        if zipfile.is_zipfile(unpacking.source):
            _unpack_zip(unpacking)
        elif is_tar(unpacking.source):
            _unpack_tar(unpacking)
        else:
            raise unpacking.refuse("is no folder, no zip and no tar file", "Import a folder, a .zip or a .tar(.gz, .bz2, .xz).")
    except _BROKEN as error:
        raise unpacking.refuse(
            f"is a broken archive: {error or type(error).__name__}", "Was it downloaded or copied completely?"
        ) from error
    except OSError as error:
        if "compressed" in str(error) or "gzip" in str(error).lower() or error.errno is None:
            raise unpacking.refuse(f"is a broken archive: {error}", "Was it downloaded or copied completely?") from error
        raise UnavailableError(f"{unpacking.source.name} cannot be unpacked: {error.strerror}", hint="Is the disk full?") from error


def _unpack_zip(unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(unpacking.source) as archive:
        members = archive.infolist()
        _check_room(unpacking, sum(member.file_size for member in members))
        for member in members:
            name = _zip_name(member)
            mode = member.external_attr >> 16
            unpacking.meet(name)
            if member.is_dir() or name.endswith("\\"):
                continue
            if member.flag_bits & 0x1:
                raise unpacking.refuse("is encrypted", "Unpack it yourself and import the folder.")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                unpacking.leave_out(name, "a link or device in an archive is not unpacked")
                continue
            with archive.open(member) as content:
                unpacking.write(name, content)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """The member's name; old tools for Chinese Windows write GBK and do not say so, zipfile then reads it as cp437."""
    if member.flag_bits & 0x800 or member.orig_filename.isascii():
        return member.filename
    try:
        raw = member.filename.encode("cp437")
    except UnicodeEncodeError:
        return member.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return member.filename


def _unpack_tar(unpacking: _Unpacking) -> None:
    with _open_tar(unpacking.source, unpacking.largest_bytes) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # otherwise it remembers every member that it ever met
            unpacking.meet(member.name)
            if member.isdir():
                continue
            if not member.isreg():
                unpacking.leave_out(member.name, "a link or device in an archive is not unpacked")
                continue
            content = archive.extractfile(member)
            if content:
                with content:
                    unpacking.write(member.name, content)


def is_tar(path: Path) -> bool:
    """Whether the file is a tar, plain or compressed. Reads its beginning, with bounds, whatever it says of itself."""
    try:
        with _open_tar(path, _HEADER_BYTES):
            return True
    except (*_BROKEN, OSError):
        return False


@contextmanager
def _open_tar(path: Path, largest_bytes: int) -> Iterator[tarfile.TarFile]:
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        opened = next((opener(file) for beginning, opener in _COMPRESSED.items() if magic.startswith(beginning)), file)
        # Headers and padding come on top of what the members hold.
        with tarfile.open(fileobj=_Bounded(opened, 2 * largest_bytes + _HEADER_BYTES), mode="r:") as archive:
            yield archive


_COMPRESSED: Mapping[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
#: No name and no list of attributes needs more; tarfile itself reads as much as a header says.
_HEADER_BYTES = 64 * 1024**2


class _Bounded(io.RawIOBase):
    """SECURITY: a stream of which no single read, and not the whole, is larger than an honest archive needs."""

    def __init__(self, content: IO[bytes], largest_bytes: int) -> None:
        super().__init__()
        self._content = content
        self._largest_bytes = largest_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_BYTES or self._content.tell() + size > self._largest_bytes:
            raise tarfile.ReadError(f"a header asks for {size:,} bytes at once" if size > _HEADER_BYTES else "it is larger than allowed")
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset > self._largest_bytes:
            raise tarfile.ReadError(f"a header points to byte {offset:,}")
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


def _check_room(unpacking: _Unpacking, claimed_bytes: int) -> None:
    """Refuse early what the archive itself says is too much; what it hides is found while it is written."""
    if claimed_bytes > unpacking.largest_bytes:
        reason = f"unpacks to {claimed_bytes:,} bytes, more than the {unpacking.largest_bytes:,} allowed"
        raise unpacking.refuse(reason, "If you trust it, unpack it yourself and import the folder.")
    free_bytes = shutil.disk_usage(unpacking.folder).free
    if claimed_bytes > free_bytes:
        raise UnavailableError(f"{unpacking.source.name} unpacks to {claimed_bytes:,} bytes, but only {free_bytes:,} are free.")


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")[:300]

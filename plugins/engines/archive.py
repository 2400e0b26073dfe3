"""Tar streams out of images and containers, which are not trusted: only regular files come through, and only below the folder asked for.

SECURITY: a name that is absolute or climbs out, a link that leads out, a device or a fifo is left out, never followed and never created.
"""

from __future__ import annotations

import io
import posixpath
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from contracts.errors import EngineError, ImageError

_MAX_FILES = 10_000
_MAX_LINK_HOPS = 10
_HEADER_ALLOWANCE = 32 * 1024**2  # what tar may add to the files themselves; more is an attack on our memory


class ByteStream(io.RawIOBase):
    """Chunks of bytes as a file to read from. Raises ``ImageError`` when more than ``max_bytes`` come (None: no limit)."""

    def __init__(self, chunks: Iterable[bytes], max_bytes: int | None = None) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._count(len(chunk))
            self._rest = memoryview(chunk)
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def _count(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise ImageError("the archive is larger than the files that may be read")


def read_folder(chunks: Iterable[bytes], folder: str, max_bytes: int) -> dict[str, bytes]:
    """The regular files of a folder's tar by path relative to the folder. Links to files inside it count as those files.

    ``folder`` is where the tar was taken from, which absolute links are measured against. Raises ``ImageError`` above ``max_bytes`` together.
    """
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    left = max_bytes
    for tar, member, name in _members(chunks, max_bytes + _HEADER_ALLOWANCE):
        if member.isreg():
            left -= member.size
            if left < 0 or len(files) >= _MAX_FILES:
                raise ImageError(f"{folder} of the image holds more than {max_bytes} bytes or {_MAX_FILES} files", folder=folder)
            files[name] = _content(tar, member)
        elif member.issym() or member.islnk():
            links[name] = _link_target(member, name, folder)
    return files | _resolved(links, files)


def extract(chunks: Iterable[bytes], root_name: str, host_dir: Path) -> list[Path]:
    """Writes the regular files of a tar below ``host_dir / root_name`` and returns them; what is there already is replaced.

    A hard link to a file of the same tar becomes a copy of it; everything else that is no regular file is left out.
    """
    host_dir.mkdir(parents=True, exist_ok=True)
    base = host_dir.resolve()
    written: dict[str, Path] = {}
    for tar, member, name in _members(chunks, None):
        target = base / root_name / name if name else base / root_name
        if not _is_below(target, base):
            continue
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif member.isreg():
            written[name] = _write(tar, member, target)
        elif member.islnk() and (source := written.get(_stripped(member.linkname))):
            target.parent.mkdir(parents=True, exist_ok=True)
            written[name] = Path(shutil.copyfile(source, target))
    return sorted(written.values())


def _members(chunks: Iterable[bytes], max_bytes: int | None) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """Every member whose name stays inside, with that name relative to the tar's own root folder ('' for a single file)."""
    stream = io.BufferedReader(ByteStream(chunks, max_bytes), 1024 * 1024)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if not _climbs(member.name):
                    yield tar, member, _stripped(member.name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise EngineError(f"the engine's archive cannot be read: {error}") from error


def _climbs(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name


def _stripped(name: str) -> str:
    """``img-man/det/a.yaml`` and ``./det/a.yaml`` are both ``det/a.yaml``: the first part names the folder that was asked for."""
    first, _, rest = posixpath.normpath(name).partition("/")
    return posixpath.normpath(name) if name.startswith("./") and first != "." else rest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        return b""
    with file:
        return file.read()


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link that stood here is replaced, not written through
    file = tar.extractfile(member)
    with target.open("xb") as output:
        if file is not None:
            with file:
                shutil.copyfileobj(file, output, 1024 * 1024)
    return target


def _is_below(path: Path, base: Path) -> bool:
    """Also through links that stand in ``base`` from before."""
    return path.parent.resolve().is_relative_to(base) or path.parent == base.parent


def _link_target(member: tarfile.TarInfo, name: str, folder: str) -> str:
    """Where a link leads, relative to the folder; a path beginning with ``..`` or ``/`` when it leads out."""
    if member.islnk():
        return _stripped(member.linkname)
    if member.linkname.startswith("/"):
        return posixpath.relpath(posixpath.normpath(member.linkname), "/" + folder.strip("/"))
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))


def _resolved(links: dict[str, str], files: dict[str, bytes]) -> dict[str, bytes]:
    found = {}
    for name, target in links.items():
        for _ in range(_MAX_LINK_HOPS):
            target = links.get(target, target)
        if target in files:
            found[name] = files[target]
    return found

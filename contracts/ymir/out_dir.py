"""``/out`` as a container left it, read without trust.

Whatever lies there was written by the image: links that lead elsewhere, pipes and devices where a file should be, files of any size.
SECURITY: nothing outside ``/out`` is ever opened, and no open ever waits.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from contracts.errors import ResultMalformedError, ResultMissingError

CONTAINER_OUT = "/out"
_MAX_LINKS = 40


@dataclass(frozen=True)
class Found:
    """A place below ``/out``: its path with every link resolved, or the reason why it cannot be used."""

    path: Path | None
    reason: str = ""


class OutDir:
    """Finds and reads what an image left.

    An absolute path ``/out/...``, also as the target of a link, means the same file inside this folder: so the image saw it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._prefixes = tuple(dict.fromkeys((str(self.root), str(root.absolute()), CONTAINER_OUT)))

    def find(self, name: str, base: str = "") -> Found:
        """The place that ``name`` means when it is written relative to ``base`` (itself relative to ``/out``)."""
        if name.startswith("/"):
            inner = self.relative(name)
            return Found(None, "it lies outside /out") if inner is None else self._walk(inner)
        return self._walk(f"{base}/{name}")

    def find_file(self, name: str, base: str = "") -> Found:
        """As ``find``, for a regular file."""
        found = self.find(name, base)
        if found.path is not None and not stat.S_ISREG(found.path.lstat().st_mode):
            return Found(None, "it is not a file")
        return found

    def relative(self, absolute: str) -> str | None:
        """The part of an absolute path below ``/out``, or None when it lies elsewhere."""
        for prefix in self._prefixes:
            if absolute == prefix or absolute.startswith(prefix + "/"):
                return absolute[len(prefix) :].lstrip("/")
        return None

    def read(self, name: str, max_bytes: int) -> bytes:
        """A whole result file. Raises ``ResultMissingError``, ``ResultMalformedError``."""
        found = self.find(name)
        if found.path is None:
            raise self._missing(name, found.reason)
        try:
            with open_without_waiting(found.path) as file:
                content = file.read(max_bytes + 1)
        except OSError as error:
            raise ResultMalformedError(
                f"/out/{name} cannot be read: {error.strerror}", hint="The image must leave a readable regular file.", place=name
            ) from error
        if len(content) > max_bytes:
            raise ResultMalformedError(
                f"/out/{name} is larger than {max_bytes // 1024**2} MiB", hint="The image must write less into it.", place=name
            )
        return content

    def read_head(self, name: str, max_bytes: int) -> tuple[bytes, float] | None:
        """The beginning of a file directly in ``/out`` and its time of change, or None. For files that a running image may replace at
        any moment: no link is followed at all."""
        try:
            with open_without_waiting(self.root / name) as file:
                return file.read(max_bytes), os.fstat(file.fileno()).st_mtime
        except OSError:
            return None

    def _missing(self, name: str, reason: str) -> ResultMissingError:
        return ResultMissingError(f"the image left no /out/{name}: {reason}", hint="The image must write it before it exits.", place=name)

    def _walk(self, name: str) -> Found:
        pending, here, links = name.split("/")[::-1], list[str](), 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not here:
                    return Found(None, "it lies outside /out")
                here.pop()
                continue
            target = self._link_target(self.root.joinpath(*here, part))
            if isinstance(target, Found):
                return target
            if target is None:
                here.append(part)
                continue
            links += 1
            inner = self.relative(target) if target.startswith("/") else target
            if inner is None or links > _MAX_LINKS:
                return Found(None, "it is a link that leads outside /out" if inner is None else "it is a link that leads to itself")
            here = [] if target.startswith("/") else here
            pending += inner.split("/")[::-1]
        return Found(self.root.joinpath(*here))

    @staticmethod
    def _link_target(path: Path) -> str | Found | None:
        """Where a link points to, None for what is no link, or why the path cannot be used."""
        try:
            return str(path.readlink()) if stat.S_ISLNK(path.lstat().st_mode) else None
        except (OSError, ValueError):  # ValueError: a NUL or a lone surrogate in the name
            return Found(None, "it does not exist")


def open_without_waiting(path: Path) -> BinaryIO:
    """A regular file, open for reading. A pipe is opened without waiting for a writer and refused; a link is refused. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")

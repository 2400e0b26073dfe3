"""An image folder (``img-man/`` and ``app/``) seen as an image: its facts, its content id and its files.

A link in ``app/`` to a Python package beside the folder counts as that package's source: this is how images share code, and ``sluice image build``
puts the source in the link's place. So the content id changes when the package does.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import ImageError
from contracts.image import ImageFacts

_PARTS = ("img-man", "app")
_START = "app/start.sh"
_SOURCE = (".py", ".typed", ".html", ".csv")


def find_folder(reference: str) -> ImageFacts | None:
    """The facts when the reference is the path of an image folder, else None."""
    folder = Path(reference)
    if not reference or "\0" in reference or not (folder / _START).is_file():
        return None
    digest, size_bytes = _digest(folder)
    return ImageFacts(reference=reference, digest=digest, size_bytes=size_bytes, architecture=platform.machine())


def check_folder(folder: Path) -> ImageFacts:
    """The facts under the folder's absolute path. Raises ``ImageError`` that names what the folder lacks."""
    missing = [name for name in ("img-man", _START) if not (folder / name).exists()]
    facts = find_folder(str(folder.resolve()))
    if missing or facts is None:
        raise ImageError(
            f"{folder} is no image folder: it lacks {' and '.join(missing or [_START])}",
            hint="Copy images/_template to begin.",
            folder=str(folder),
        )
    return facts


def read_part(reference: str, folder: str, max_bytes: int) -> dict[str, bytes]:
    """The files below ``/img-man`` or ``/app`` (or a folder in them) by relative path; {} for every other folder of a real image."""
    image, wanted = Path(reference), folder.strip("/")
    if wanted.split("/")[0] not in _PARTS or ".." in wanted.split("/"):
        return {}
    root, files, left = image / wanted, {}, max_bytes
    for path in _files(root):
        if path.is_symlink() and not path.resolve().is_relative_to(image.resolve()):
            continue  # SECURITY: a link may not show the host's files as the image's, but for the source of a package that it carries
        left -= path.stat().st_size
        if left < 0:
            raise ImageError(f"{folder} of {reference} holds more than {max_bytes} bytes", folder=folder)
        files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def _digest(folder: Path) -> tuple[str, int]:
    """``sha256:`` over the relative path and content of every file, and their size together. Python's own caches do not count."""
    total, size_bytes = hashlib.sha256(), 0
    for part in _PARTS:
        for path in _files(folder / part):
            name = path.relative_to(folder).as_posix().encode()
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest() if hasattr(hashlib, "file_digest") else _sha256(path)
            total.update(len(name).to_bytes(4, "big") + name + content)
            size_bytes += path.stat().st_size
    return f"sha256:{total.hexdigest()}", size_bytes


def _sha256(path: Path) -> bytes:
    """For Python 3.10, which has no ``file_digest``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            digest.update(piece)
    return digest.digest()


def _files(root: Path) -> Iterator[Path]:
    """Regular files and links to such, in the order of their paths. Folders that are links are not entered, but for linked packages."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix != ".pyc" and path.is_file():
                yield path
        for path in (Path(folder) / name for name in subfolders):
            if path.is_symlink() and (path / "__init__.py").is_file():
                yield from _source(path)


def _source(package: Path) -> Iterator[Path]:
    """What a build takes of a linked package (``runner.building``): its source, no links in it. Paths begin with the link's own."""
    for folder, subfolders, names in os.walk(package):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix in _SOURCE and path.is_file() and not path.is_symlink():
                yield path

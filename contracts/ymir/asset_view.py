"""A job's own view of its pictures: ``assets/ab/<sha1>.<ext>``, hard links to the store, a copy only where a file cannot be linked.

What you can rely on:

1. A view that was begun, by a process that was killed or by an earlier attempt, is completed: what is a link to the right file stays, anything
   else goes.
2. Linking a file copies nothing; each file that had to be copied is counted in a warning with the reason.
3. A full disk comes through as it is, and what was made so far stays for whoever completes it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from heapq import merge
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from contracts.dataset import AssetFolder, SampleTable
from contracts.ymir.annotations import readable_folder
from contracts.ymir.tolerances import Tolerances

#: Another file system, too many links, or a file that this user may read but not link.
CANNOT_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS)
#: Links of different folders do not wait for each other, and the kernel does most of the work: a few threads keep the processors busy.
_THREADS = 4
#: Fewer files than this are linked sooner than threads are started.
_WORTH_THREADS = 2000


def place_assets(tables: Sequence[SampleTable], assets_dir: Path, tolerances: Tolerances) -> None:
    """The view of all pictures of the tables below ``assets_dir``, which exists. Raises ``FileNotFoundError`` and ``IsADirectoryError`` whose
    ``filename`` is that of a picture that is lost, ``OSError`` for a full disk.
    """
    _remove_files(assets_dir)
    made = set()
    for name, reasons in _in_parallel(_folders(tables), assets_dir, sum(map(len, tables))):
        made.add(name)
        for reason in reasons:
            note_copy("assets", reason, tolerances)
    _remove_folders(assets_dir, made)


def note_copy(place: str, reason: int, tolerances: Tolerances) -> None:
    message = f"files were copied for the job, since they cannot be hard-linked ({os.strerror(reason)})"
    tolerances.add("copied_not_linked", message, place)


def copy_readable(source: Path, target: Path) -> None:
    """For a file that cannot be linked: any user of a container may read it."""
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _folders(tables: Sequence[SampleTable]) -> Iterator[AssetFolder]:
    by_name = attrgetter("name")
    for _, found in groupby(merge(*(table.folders() for table in tables), key=by_name), key=by_name):
        yield _joined(list(found))


def _joined(parts: Sequence[AssetFolder]) -> AssetFolder:
    if len(parts) == 1:
        return parts[0]
    file_names = [name for part in parts for name in part.file_names]
    if len({part.source for part in parts}) == 1:
        return AssetFolder(parts[0].name, file_names, [source for part in parts for source in part.sources], parts[0].source)
    return AssetFolder(parts[0].name, file_names, [str(_path(part, source)) for part in parts for source in part.sources])


def _path(folder: AssetFolder, source: str) -> Path:
    return folder.source / folder.name / source if folder.source else Path(source)


def _in_parallel(folders: Iterable[AssetFolder], assets_dir: Path, count: int) -> Iterator[tuple[str, list[int]]]:
    """Each folder's name when it is full, and why files of it were copied."""
    if count < _WORTH_THREADS:
        yield from ((folder.name, _fill(folder, assets_dir)) for folder in folders)
        return
    with ThreadPoolExecutor(_THREADS, "stage") as threads:
        filling: deque[tuple[str, Future[list[int]]]] = deque()
        try:
            for folder in folders:
                filling.append((folder.name, threads.submit(_fill, folder, assets_dir)))
                while len(filling) > 2 * _THREADS:
                    name, done = filling.popleft()
                    yield name, done.result()
            yield from ((name, done.result()) for name, done in filling)
        finally:
            threads.shutdown(cancel_futures=True)  # after a failure the rest would be in vain


def _fill(folder: AssetFolder, assets_dir: Path) -> list[int]:
    """Makes the links of one folder; why files had to be copied, an errno each."""
    place = assets_dir / folder.name
    begun = place.is_dir()
    readable_folder(place)
    copied = []
    with _opened(place) as target, _opened(folder.source / folder.name if folder.source else place) as source:
        if begun:
            _remove_wrong(folder, source, place)
        for name, origin in zip(folder.file_names, folder.sources, strict=True):
            try:
                os.link(origin, name, src_dir_fd=source, dst_dir_fd=target)  # follows a link in the store
            except FileExistsError:
                pass
            except OSError as error:
                copied.append(_copy_instead(_path(folder, origin), place / name, error))
    return copied


def _copy_instead(origin: Path, target: Path, error: OSError) -> int:
    if error.errno not in CANNOT_LINK or not origin.is_file():
        raise OSError(error.errno, error.strerror, str(target)) from error
    copy_readable(origin, target)
    return int(error.errno or 0)


def _remove_files(assets_dir: Path) -> None:
    """Only folders belong there. Never follows a link."""
    for path in assets_dir.iterdir():
        if path.is_symlink() or not path.is_dir():
            path.unlink()


def _remove_folders(assets_dir: Path, wanted: Collection[str]) -> None:
    for path in assets_dir.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path)


def _remove_wrong(folder: AssetFolder, source: int, place: Path) -> None:
    """Files of an earlier try that are not links to the right file: half a copy, or something else under the name."""
    origins = dict(zip(folder.file_names, folder.sources, strict=True))
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif not _is_link_to(entry, origins.get(entry.name), source):
                Path(entry.path).unlink()


def _is_link_to(entry: os.DirEntry[str], origin: str | None, source: int) -> bool:
    if origin is None or not entry.is_file(follow_symlinks=False):
        return False
    try:
        return os.path.samestat(entry.stat(follow_symlinks=False), os.stat(origin, dir_fd=source))
    except FileNotFoundError:
        return False


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A folder to which names are relative, which saves looking up its path for each."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

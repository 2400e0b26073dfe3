"""What an import reads, wherever it lies: a folder or archive of this host, a prefix of a bucket, an archive of a web server.

What is elsewhere is fetched into a folder below the home that goes away with the block, whole or not at all: the import sees a folder.
SECURITY: a key or a name in a manifest is any text that a stranger wrote. None becomes a path before it was checked, none leads out of the scratch
folder, and of this host only the imported folder and ``allowed_roots`` are read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from contracts.connection import Connection, parse_address, scheme_of, shown_url
from contracts.errors import ConfigurationError, DatasetError, RequestError, UnavailableError
from contracts.seams import Locate, RemoteFile, Skip, Source
from runner import connections
from runner.archives import unpacked
from runner.aside import aside_folder
from runner.installation import Installation
from runner.loading import installed, load

OnProgress = Callable[[int, "int | None"], None]
_THREADS = 16
_WAITING = 2000  # a million that wait would take gigabytes


@dataclass(frozen=True)
class Opened:
    """What the import is given. ``left_out``: files that were not fetched or unpacked, with the reason."""

    folder: Path
    locate: Locate
    left_out: list[Skip] = field(default_factory=list)


@contextmanager
def opened(installation: Installation, source: Path | str, connection: str, on_progress: OnProgress) -> Iterator[Opened]:
    """The source as a folder, until the end of the block. ``source``: a path, or an address; ``connection`` '' chooses one by the bucket.

    Raises ``NotFoundError``, ``DatasetError`` (nothing there, refused, too large), ``UnavailableError``, ``ConfigurationError``, ``RequestError``.
    """
    left_out: list[Skip] = []
    with ExitStack() as stack:
        origin = source if isinstance(source, str) and scheme_of(source) else ""
        _check_apart(installation, source, origin)
        path = stack.enter_context(_fetched(installation, origin, connection, left_out, on_progress)) if origin else Path(source)
        folder = stack.enter_context(unpacked(path, installation.home, left_out=left_out))
        locator = stack.enter_context(_Locator(installation, folder, connection, origin))
        yield Opened(folder, locator.locate, left_out)


def _check_apart(installation: Installation, source: Path | str, origin: str) -> None:
    """What an import writes lies neither in what it reads, which would grow under it, nor is it the same."""
    written = [str(Path(os.path.realpath(installation.home)))]
    if origin and installation.settings.store != "local":
        written.append(_as_folder(installation.store.place))
    read = _as_folder(origin) if origin else f"{os.path.realpath(source)}{os.sep}"
    for place in written:
        if read and f"{place.rstrip(os.sep)}{os.sep}".startswith(read):
            raise DatasetError(
                f"{place} lies inside of {shown_source(source)}: what an import writes must not be part of what it reads",
                hint="Name the folder that holds the pictures, or move the home (SLUICE_HOME).", source=shown_source(source),
            )  # fmt: skip


def shown_source(source: Path | str) -> str:
    """The source as a version remembers it: without what may be secret in a URL."""
    return shown_url(source) if isinstance(source, str) and scheme_of(source) in ("http", "https") else str(source)


# --------------------------------------------------------------------------------------------------------------- fetching


@contextmanager
def _fetched(installation: Installation, address: str, connection: str, left_out: list[Skip], on_progress: OnProgress) -> Iterator[Path]:
    """The files at an address in a scratch folder; the file itself where the address is one archive."""
    source = open_source(installation, address, connection)
    with aside_folder(installation.home, "fetched") as folder:
        budget = _Budget(installation, folder)
        chosen = _chosen(source, address, left_out, budget)
        _fetch_all(source, chosen, folder, budget, on_progress)
        only = folder / chosen[0][1]
        yield only if len(chosen) == 1 and only.parent == folder and (_is_archive(only) or not source.connects) else folder


def open_source(installation: Installation, address: str, connection: str = "") -> Source:
    """The source of an address's scheme, with the connection that leads there."""
    scheme = scheme_of(address)
    if scheme not in installed("source"):
        known = ", ".join(f"{name}://" for name in installed("source"))
        raise ConfigurationError(
            f"{shown_url(address)[:200]} cannot be fetched: nothing reads {scheme}://", hint=f"Known: {known}.", scheme=scheme
        )
    plugin = load("source", scheme, Source)  # type: ignore[type-abstract]
    if not plugin.connects:
        return plugin(Connection())
    return plugin(connections.choose(installation, connection, parse_address(address).bucket))


def check_source(connection: Connection, address: str) -> str:
    """What answers at the address, or at the connection itself. Raises as ``Source.check``, and ``RequestError`` for another kind of address."""
    plugin = load("source", scheme_of(address) or "s3", Source)  # type: ignore[type-abstract]
    if not plugin.connects or (address and not scheme_of(address)):
        raise RequestError(
            f"{address[:200]!r} is not reached through a connection", hint="Write s3://bucket/prefix.", address=address[:200]
        )
    return plugin(connection).check(address)


def _chosen(source: Source, address: str, left_out: list[Skip], budget: _Budget) -> list[tuple[RemoteFile, PurePosixPath]]:
    """The files to fetch and where each goes. Raises ``DatasetError`` for nothing, and for more than is allowed."""
    chosen: list[tuple[RemoteFile, PurePosixPath]] = []
    taken: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for file in source.list_files(address):
        place = relative_path(file.name)
        if place is None:
            left_out.append(Skip(_shown(file.name), "its key cannot be the name of a file here", "file"))
        elif place in taken or place in folders or not taken.isdisjoint(place.parents):
            left_out.append(Skip(_shown(file.name), "another file or folder has the same name", "file"))
        else:
            taken.add(place)
            folders.update(place.parents)
            budget.expect(file, address)
            chosen.append((file, place))
    if not chosen:
        what = f"; {len(left_out)} keys cannot be names of files" if left_out else ""
        raise DatasetError(
            f"there is nothing at {shown_source(address)}{what}", hint="Correct the address: keys know upper and lower case."
        )
    return chosen


def relative_path(name: str) -> PurePosixPath | None:
    """A key as a path below a folder. SECURITY: None for what would lead out of it, or cannot be a name: ``..``, a leading slash, a zero byte."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return None
    try:
        if any(len(os.fsencode(part)) > 255 for part in parts) or len(os.fsencode(name)) > 3500:
            return None
    except UnicodeEncodeError:
        return None
    return PurePosixPath(*parts)


class _Budget:
    """How much may be fetched for one import. Threads count together."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._files = installation.settings.source_max_files
        self._bytes = installation.settings.source_max_bytes
        self._free = max(0, shutil.disk_usage(folder).free - installation.settings.disk_floor_bytes)
        self._lock = threading.Lock()
        self.left_bytes = self._bytes

    def expect(self, file: RemoteFile, address: str) -> None:
        """One more file of a listing; refused before anything is fetched where it is too much."""
        self._files -= 1
        self._bytes -= file.size_bytes or 0
        self._free -= file.size_bytes or 0
        if self._files < 0 or self._bytes < 0:
            what = "files" if self._files < 0 else "bytes"
            raise DatasetError(
                f"{shown_source(address)} has more {what} than an import may fetch (setting source_max_{what})",
                hint="Import a part of it, or set the limit higher.", setting=f"source_max_{what}",
            )  # fmt: skip
        if self._free < 0:
            raise UnavailableError(
                f"{shown_source(address)} is larger than the room that is left on the disk of the home", hint="Free some space."
            )

    def spend(self, size_bytes: int) -> None:
        with self._lock:
            self.left_bytes -= size_bytes


def _fetch_all(
    source: Source, chosen: Sequence[tuple[RemoteFile, PurePosixPath]], folder: Path, budget: _Budget, on_progress: OnProgress
) -> None:
    """Several at a time. After the first error nothing new begins, and it is raised."""
    on_progress(0, len(chosen))

    def fetch(file: RemoteFile, place: PurePosixPath) -> None:
        _fetch_one(source, file, folder / place, budget)

    done = 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="sluice-fetch") as threads:
        try:
            for begin in range(0, len(chosen), _WAITING):
                for future in as_completed([threads.submit(fetch, *pair) for pair in chosen[begin : begin + _WAITING]]):
                    future.result()
                    done += 1
                    on_progress(done, len(chosen))
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _fetch_one(source: Source, file: RemoteFile, target: Path, budget: _Budget) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        budget.spend(source.fetch(file, target, max(0, budget.left_bytes)))
    except OSError as error:
        raise UnavailableError(
            f"{shown_source(file.address)} cannot be written to {target.parent}: {error.strerror}", hint="Is the disk full?"
        ) from error


def _is_archive(file: Path) -> bool:
    return zipfile.is_zipfile(file) or tarfile.is_tarfile(file)


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:300]


# --------------------------------------------------------------------------------------------------------------- locating


class _Locator:
    """Finds the files that a source names by an address. Threads use it at once; the same address is fetched once.

    1. What lies in the imported folder already is read there: an address below the one that was imported, a relative path, an absolute one
       below it.
    2. ``s3://`` and ``obs://`` are fetched through the connection, except where no connection was named and the folder has a file under the
       same last parts of the key: then the data was downloaded together with its manifest.
    3. An absolute path of this host is read below ``allowed_roots``. One that does not exist is looked for by its last parts, the most of them
       that fit, in the imported folder: then the data was moved.
    """

    def __init__(self, installation: Installation, folder: Path, connection: str, origin: str) -> None:
        self._installation = installation
        self._folder = Path(os.path.realpath(folder))
        self._connection = connection
        self._origin = _as_folder(origin)
        self._roots = [
            Path(os.path.realpath(Path(text).expanduser())) for text in installation.settings.allowed_roots.split(":") if text.strip()
        ]
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._sources: dict[tuple[str, str], Source] = {}
        self._scratch: Path | None = None
        self._budget: _Budget | None = None

    def __enter__(self) -> _Locator:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def locate(self, address: str) -> Path:
        """As ``contracts.seams.Locate``."""
        if "\0" in address or not address or len(address) > 4096:
            raise DatasetError(f"{address[:200]!r} is no address of a file", hint="Correct the manifest.")
        scheme = scheme_of(address)
        if scheme in ("s3", "obs"):
            return self._locate_in_bucket(address)
        if scheme == "file":
            return self._locate_here(unquote(address.partition("://")[2]))
        if scheme:
            raise DatasetError(
                f"{shown_url(address)[:300]} is not fetched: only s3://, obs:// and paths are", hint="Put the file beside the manifest."
            )
        return self._locate_here(address)

    # ---- this host

    def _locate_here(self, text: str) -> Path:
        path = Path(os.path.realpath(self._folder / text))  # an absolute text stands for itself
        allowed = path.is_relative_to(self._folder) or (Path(text).is_absolute() and any(path.is_relative_to(root) for root in self._roots))
        if allowed and path.is_file():
            return path
        if not path.exists() and (moved := self._by_last_parts(text)):
            return moved
        if not path.exists():
            raise DatasetError(
                f"{text[:300]} does not exist, nor do its last parts in the imported folder", hint="Copy the file into the folder."
            )
        if not allowed:
            raise DatasetError(
                f"{text[:300]} lies outside of the imported folder and of the setting allowed_roots",
                hint="Copy it into the folder, or have the folder that holds it added to allowed_roots.", setting="allowed_roots",
            )  # fmt: skip
        raise DatasetError(f"{text[:300]} is no file", hint="Name a file.")

    def _by_last_parts(self, text: str) -> Path | None:
        """The file below the imported folder whose path ends as the text does, by the most parts that fit."""
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            return None
        for begin in range(len(parts)):
            found = Path(os.path.realpath(self._folder.joinpath(*parts[begin:])))
            if found.is_relative_to(self._folder) and found.is_file():
                return found
        return None

    # ---- a bucket

    def _locate_in_bucket(self, address: str) -> Path:
        plain = f"s3://{address.partition('://')[2]}"
        if self._origin and plain.startswith(self._origin):
            place = relative_path(plain[len(self._origin) :])
            if place and (self._folder / place).is_file():
                return self._folder / place
        if not self._connection and not self._origin and (beside := self._by_last_parts(parse_address(plain).key)):
            return beside
        with self._lock_of(plain):
            target = self._place(plain)
            if not target.exists():
                self._fetch(address, target)
            return target

    def _fetch(self, address: str, target: Path) -> None:
        place = parse_address(address)
        try:
            source = self._source(place.scheme, place.bucket, address)
            assert self._budget is not None  # noqa: S101 - made with the scratch folder
            _fetch_one(source, RemoteFile(address, target.name), target, self._budget)
        except ConfigurationError as error:  # one address that cannot be fetched leaves out one picture
            raise DatasetError(error.message, hint=error.hint, **error.fields) from error

    def _source(self, scheme: str, bucket: str, address: str) -> Source:
        with self._lock:
            if (scheme, bucket) not in self._sources:
                self._sources[scheme, bucket] = open_source(self._installation, address, self._connection)
            return self._sources[scheme, bucket]

    def _place(self, address: str) -> Path:
        """A name of our own: of the key's only a plain suffix is kept, which some readers look at."""
        with self._lock:
            if self._scratch is None:
                self._scratch = self._stack.enter_context(aside_folder(self._installation.home, "located"))
                self._budget = _Budget(self._installation, self._scratch)
        suffix = PurePosixPath(address).suffix.lower()
        plain = suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 10 else ""
        return self._scratch / f"{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()}{plain}"

    def _lock_of(self, address: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(address, threading.Lock())


def _as_folder(origin: str) -> str:
    """``s3://bucket/prefix/`` for the bucket's address that was imported; '' for anything else."""
    if scheme_of(origin) not in ("s3", "obs"):
        return ""
    plain = f"s3://{origin.partition('://')[2]}"
    return plain if plain.endswith("/") else f"{plain}/"

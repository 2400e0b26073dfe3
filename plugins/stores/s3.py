"""Assets and model files in a bucket, by content: ``<prefix>ab/<sha1>.<ext>``, with a cache of them in the home."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from contracts.connection import Address, Connection, parse_address
from contracts.dataset import Asset
from contracts.errors import ConfigurationError, DatasetError, SluiceError, UnavailableError
from contracts.seams import NewFile, OnProblem, Store, StoredFile, StoreSite
from plugins.stores.bucket import Bucket, Patience, in_parallel
from plugins.stores.cache import Cache
from plugins.stores.shelf import check_name, parse_name

_MARKS = "homes/"
_TOO_LARGE = 1024**4
_REMOVE_AT_ONCE = 1000
_TEST = b"Sluice was here to see whether it may write; this can be removed."


class S3Store(Store):
    """A prefix of a bucket.

    1. An object is whole: S3 shows it when all of it is there. What is there with the right size is not sent again.
    2. What is fetched is compared with its hash before it has its name in the cache.
    3. Each home leaves a mark (``<prefix>homes/<id>``), so that the gc of one never takes what another needs.
    """

    name: ClassVar[str] = "s3"

    def __init__(
        self, bucket: Bucket, prefix: str, cache_folder: Path, cache_bytes: int, installation: str, patience: Patience | None = None
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._cache = Cache(cache_folder, cache_bytes, self._fetch)
        self._installation = installation
        self._patience = patience or Patience()
        self._is_marked = False

    @classmethod
    def open(cls, site: StoreSite) -> S3Store:
        address = _place(site.address, site.connection)
        return cls(
            Bucket(site.connection, address.bucket), address.key, site.home / "cache" / "assets", site.cache_bytes, site.installation
        )

    @property
    def place(self) -> str:
        return self._bucket.address(self._prefix)

    # ------------------------------------------------------------------------------------------------------------------ add

    def add_many(self, files: Sequence[NewFile]) -> None:
        keys = [self._key(file.sha1, file.extension) for file in files]
        self._leave_mark()
        in_parallel(self._patience.threads, self._add, list(zip(files, keys, strict=True)))

    def _add(self, pair: tuple[NewFile, str]) -> None:
        file, key = pair
        size = len(file.content) if isinstance(file.content, bytes) else _checked_size(file)
        there = self._bucket.find(key)
        if there is None or there.size_bytes != size:
            self._bucket.upload(key, file.content)

    def _leave_mark(self) -> None:
        """Before the first file, so that no gc of another home misses it."""
        if not self._is_marked:
            self._bucket.upload(f"{self._prefix}{_MARKS}{self._installation}", b"A Sluice home keeps files here.\n")
            self._is_marked = True

    # ----------------------------------------------------------------------------------------------------------------- find

    def path(self, sha1: str, extension: str) -> Path | None:
        return self._cache.path(sha1, extension)

    def find(self, sha1: str, extension: str) -> Path | None:
        path = self._cache.path(sha1, extension)
        if path.is_file():
            return path
        there = self._bucket.find(self._key(sha1, extension))
        if there is None:
            return None
        with self.holding([Asset(sha1, extension, 0, 0, there.size_bytes)]):
            return path

    def holding(self, files: Sequence[Asset]) -> AbstractContextManager[None]:
        return self._cache.holding(files)

    def _fetch(self, files: Sequence[Asset], places: Sequence[Path]) -> None:
        in_parallel(self._patience.threads, self._fetch_one, list(zip(files, places, strict=True)))

    def _fetch_one(self, pair: tuple[Asset, Path]) -> None:
        file, place = pair
        key = self._key(file.id, file.extension)
        try:
            digest = self._bucket.download(key, place, _TOO_LARGE)
        except DatasetError as error:
            if error.fields.get("reason") != "missing":
                raise UnavailableError(error.message, hint=error.hint, **error.fields) from error
            hint = "Import its dataset again: what is missing in the store is added."
            raise DatasetError(f"{file.file_name} is not in the store {self.place}", hint=hint, asset=file.id) from error
        if digest != file.id:
            raise DatasetError(
                f"{self._bucket.address(key)} has another content ({digest}) than its name says: it was changed in the bucket",
                hint="Remove this object and import its dataset again.", bucket=self._bucket.name, key=key,
            )  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- list and remove

    def list_files(self, on_problem: OnProblem) -> Iterator[StoredFile]:
        try:
            for found in self._bucket.list_objects(self._prefix):
                name = parse_name(found.key.removeprefix(self._prefix))
                if name:
                    yield StoredFile(*name, found.size_bytes, found.modified_at)
        except SluiceError as error:
            on_problem(self.place, error.message)

    def remove(self, files: Sequence[StoredFile], on_problem: OnProblem) -> list[StoredFile]:
        by_key = {self._key(file.sha1, file.extension): file for file in files}
        stay = self._bucket.remove(list(by_key))
        for key, reason in stay.items():
            on_problem(self._bucket.address(key), reason)
        gone = [file for key, file in by_key.items() if key not in stay]
        for file in gone:
            self._cache.forget(file.sha1, file.extension)
        return gone

    def other_homes(self) -> tuple[str, ...]:
        marks = (found.key.removeprefix(f"{self._prefix}{_MARKS}") for found in self._bucket.list_objects(f"{self._prefix}{_MARKS}"))
        return tuple(mark for mark in marks if mark != self._installation)

    def check(self) -> str:
        """Reads the prefix and writes, reads and removes a small object."""
        self._bucket.check(self._prefix)
        key = f"{self._prefix}checks/{self._installation}-{time.time_ns()}"
        self._bucket.upload(key, _TEST)
        if stays := self._bucket.remove([key]):
            raise UnavailableError(
                f"{self._bucket.address(key)} cannot be removed: {stays[key]}", hint="Give the connection s3:DeleteObject."
            )
        return f"{self.place}, cache {self._cache.folder} up to {self._cache.largest_bytes:,} bytes"

    def _key(self, sha1: str, extension: str) -> str:
        return self._prefix + check_name(sha1, extension)


def _place(address: str, connection: Connection) -> Address:
    if address:
        return parse_address(address)
    if connection.bucket:
        return Address("s3", connection.bucket, connection.prefix)
    raise ConfigurationError(
        "the store is s3, and no setting says in which bucket",
        hint="Set store_address = s3://bucket/prefix, or give the connection a bucket.",
    )


def _checked_size(file: NewFile) -> int:
    """The bytes of a file whose content was compared with its hash. Raises ``DatasetError``."""
    import hashlib

    assert isinstance(file.content, Path)  # noqa: S101 - bytes are the other case
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    try:
        with file.content.open("rb") as source:
            while chunk := source.read(1024**2):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise DatasetError(f"{file.content} cannot be read: {error.strerror}", sha1=file.sha1) from error
    if digest.hexdigest() != file.sha1:
        raise DatasetError(
            f"the content of {file.content} is not {file.sha1} but {digest.hexdigest()}", hint="It was changed meanwhile.", sha1=file.sha1
        )
    return size

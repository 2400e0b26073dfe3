"""Files of a bucket: ``s3://bucket/prefix``, and ``obs://`` (Huawei's name for the same)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from contracts.connection import Connection, parse_address
from contracts.seams import RemoteFile, Source
from plugins.stores.bucket import Bucket, Patience

#: Of a check: somebody waits for it, and "it does not answer" is an answer.
_HASTE = Patience(attempts=2, connect_timeout_s=5.0, read_timeout_s=15.0)


class S3Source(Source):
    """A folder address ends with a slash or is the beginning of keys up to one; what is a key itself is that one file."""

    name: ClassVar[str] = "s3"
    connects: ClassVar[bool] = True

    def __init__(self, connection: Connection, patience: Patience | None = None) -> None:
        self._connection = connection
        self._patience = patience or Patience()
        self._buckets: dict[str, Bucket] = {}

    def list_files(self, address: str) -> Iterator[RemoteFile]:
        """Empty objects whose key ends with a slash are what consoles show as folders; they are left out."""
        place = parse_address(address)
        bucket = self._bucket(place.bucket)
        if place.key and not place.key.endswith("/"):
            only = bucket.find(place.key)
            if only is not None:
                yield RemoteFile(bucket.address(only.key), place.key.rpartition("/")[2], only.size_bytes, only.etag)
                return
        folder = place.key if not place.key or place.key.endswith("/") else f"{place.key}/"
        for found in bucket.list_objects(folder):
            if not (found.key.endswith("/") and found.size_bytes == 0):
                yield RemoteFile(bucket.address(found.key), found.key[len(folder) :], found.size_bytes, found.etag)

    def fetch(self, file: RemoteFile, target: Path, largest_bytes: int) -> int:
        place = parse_address(file.address)
        self._bucket(place.bucket).download(place.key, target, largest_bytes, file.size_bytes, file.etag)
        return target.stat().st_size

    def check(self, address: str) -> str:
        text = address or (f"{self.name}://{self._connection.bucket}/{self._connection.prefix}" if self._connection.bucket else "")
        if text:
            place = parse_address(text)
            Bucket(self._connection, place.bucket, self.name, _HASTE).check(place.key)
            return f"{self._connection.shown_endpoint()} lists {text}"
        buckets = Bucket(self._connection, "", self.name, _HASTE).list_buckets()
        return f"{self._connection.shown_endpoint()} has {len(buckets)} buckets: {', '.join(buckets[:10])}{' ...' if len(buckets) > 10 else ''}"

    def _bucket(self, name: str) -> Bucket:
        return self._buckets.setdefault(name, Bucket(self._connection, name, self.name, self._patience))


class ObsSource(S3Source):
    """The same under the scheme that ModelArts writes."""

    name: ClassVar[str] = "obs"

"""One bucket over boto3: listed, read, written and removed from with our errors, each naming bucket, key, endpoint and what to do.

botocore tries again what may pass (5xx, throttling, a connection that fails) with growing waits; a body that is cut off on its way is taken up where
it ended. boto3 is imported with the first request: nothing that does without S3 waits for it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts.connection import Connection
from contracts.errors import ConfigurationError, DatasetError, SluiceError, UnavailableError

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_CHUNK_BYTES = 1024**2
_DELETE_AT_ONCE = 1000  # S3's own limit
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
_NOT_THERE = {"NoSuchKey", "NotFound", "404"}
_FORBIDDEN = {
    "403", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "Forbidden",
    "TokenRefreshRequired", "AuthorizationHeaderMalformed", "AccountProblem",
}  # fmt: skip


@dataclass(frozen=True)
class Patience:
    """How long S3 is waited for. ``attempts``: of one request, and of one file whose body does not arrive whole. Larger files than ``part_bytes``
    are sent in parts."""

    attempts: int = 5
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    wait_s: float = 0.5
    part_bytes: int = 16 * 1024**2
    threads: int = 16


@dataclass(frozen=True)
class S3Object:
    key: str
    size_bytes: int
    etag: str
    modified_at: float


class Bucket:
    """A bucket through a connection. Threads use one at once."""

    def __init__(self, connection: Connection, name: str, scheme: str = "s3", patience: Patience | None = None) -> None:
        self.name = name
        self._connection = connection
        self._scheme = scheme
        self._patience = patience or Patience()
        self._made: Any = None
        self._making = threading.Lock()

    def address(self, key: str = "") -> str:
        return f"{self._scheme}://{self.name}/{key}"

    # ----------------------------------------------------------------------------------------------------------------- look

    def list_objects(self, prefix: str, limit: int | None = None) -> Iterator[S3Object]:
        """Every object whose key begins with the prefix, by key. ``limit``: at most so many."""
        with self._translated(prefix, "listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": min(limit or 1000, 1000), "MaxItems": limit}
            )
            for page in pages:
                for row in page.get("Contents", ()):
                    yield S3Object(row["Key"], row["Size"], row.get("ETag", ""), row["LastModified"].timestamp())

    def find(self, key: str) -> S3Object | None:
        """The object, or None."""
        try:
            with self._translated(key, "looked at"):
                row = self._client.head_object(Bucket=self.name, Key=key)
        except DatasetError as error:
            if error.fields.get("reason") == "missing":
                return None
            raise
        return S3Object(key, row["ContentLength"], row.get("ETag", ""), row["LastModified"].timestamp())

    def check(self, prefix: str) -> None:
        """One look at the prefix, so that a wrong name, key or endpoint is found. Raises as everything else."""
        with self._translated(prefix, "listed"):
            self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1)

    def list_buckets(self) -> list[str]:
        with self._translated("", "asked"):
            return [row["Name"] for row in self._client.list_buckets()["Buckets"]]

    # ----------------------------------------------------------------------------------------------------------------- read

    def download(self, key: str, target: Path, largest_bytes: int, size_bytes: int | None = None, etag: str = "") -> str:
        """Writes the object to the file, streamed; returns the sha1 of what was written.

        What ends early is taken up there, of the same object (by ETag) only. Size, checksums that the server keeps and an ETag that is an MD5
        are compared. Raises ``DatasetError`` for more than ``largest_bytes``; after an error the file is gone.
        """
        arrival = _Arrival(self, key, target, largest_bytes, size_bytes, etag)
        try:
            return arrival.receive()
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise

    # ---------------------------------------------------------------------------------------------------------------- write

    def upload(self, key: str, content: bytes | Path) -> None:
        """Writes an object: in one request that carries its MD5, so that the server refuses what arrives damaged, or in parts, which are checked
        by their size."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size > self._patience.part_bytes and isinstance(content, Path):
            self._upload_in_parts(key, content, size)
            return
        body = content if isinstance(content, bytes) else content.read_bytes()
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        with self._translated(key, "written"):
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentMD5=md5)

    def _upload_in_parts(self, key: str, file: Path, size_bytes: int) -> None:
        """boto3 gives up the whole upload when a part fails for good."""
        from boto3.s3.transfer import TransferConfig

        part = self._patience.part_bytes
        config = TransferConfig(multipart_threshold=part, multipart_chunksize=max(part, size_bytes // 9000), max_concurrency=4)
        with self._translated(key, "written"):
            self._client.upload_file(str(file), self.name, key, Config=config)
        written = self.find(key)
        if written is None or written.size_bytes != size_bytes:
            there = "nothing" if written is None else f"{written.size_bytes:,} bytes"
            raise UnavailableError(
                f"{self.address(key)} was written with {size_bytes:,} bytes, and then {there} was there",
                hint="Try again; if it stays so, the store is broken.", bucket=self.name, key=key,
            )  # fmt: skip

    def remove(self, keys: Sequence[str]) -> dict[str, str]:
        """Removes objects; those that are not there count as removed. Returns the reason for each that stays."""
        stay: dict[str, str] = {}
        for begin in range(0, len(keys), _DELETE_AT_ONCE):
            some = keys[begin : begin + _DELETE_AT_ONCE]
            try:
                with self._translated(some[0], "removed"):
                    request = {"Objects": [{"Key": key} for key in some], "Quiet": True}
                    answer = self._client.delete_objects(Bucket=self.name, Delete=request)
            except SluiceError as error:
                stay |= dict.fromkeys(some, error.message)
            else:
                stay |= {row["Key"]: f"{row.get('Code', '')} {row.get('Message', '')}".strip() for row in answer.get("Errors", ())}
        return stay

    # --------------------------------------------------------------------------------------------------------------- client

    @property
    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                self._made = _make_client(self._connection, self._patience)
            return self._made

    @contextmanager
    def _translated(self, key: str, what: str) -> Iterator[None]:
        """boto3's errors as ours. The key and the secret are never part of one."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._error_of_answer(error, key, what) from error
        except (BotoCoreError, Boto3Error) as error:
            raise self._error_without_answer(error, key, what) from error

    def _error_of_answer(self, error: Any, key: str, what: str) -> SluiceError:
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _NO_BUCKET:
            return self._refusal(key, f"there is no bucket {self.name!r} at {self._connection.shown_endpoint()}", "missing bucket",
                                 "Correct the address, or name the connection of the store that has it: --connection NAME.")  # fmt: skip
        if code in _NOT_THERE or status == 404:
            return self._refusal(
                key, f"there is no object {self.address(key)}", "missing", "Correct the address; keys know upper and lower case."
            )
        if code in _FORBIDDEN or status in (401, 403):
            return self._refusal(
                key, f"{self.address(key)} may not be {what}: the store says {code or status} to {self._who()}", "forbidden",
                "Give it the right (s3:ListBucket, s3:GetObject; a store needs s3:PutObject and s3:DeleteObject, too), or name another connection.",
            )  # fmt: skip
        if status >= 500 or code in ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "BadDigest", "IncompleteBody"):
            return self._absence(key, what, f"the store answered {status} {code}")
        return self._refusal(
            key, f"{self.address(key)} cannot be {what}: the store says {status} {code}", "refused", "Correct the address."
        )

    def _error_without_answer(self, error: Exception, key: str, what: str) -> SluiceError:
        from botocore.exceptions import (
            ConfigNotFound,
            CredentialRetrievalError,
            InvalidConfigError,
            NoCredentialsError,
            ParamValidationError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
            return ConfigurationError(
                f"the connection {self._connection.name} has no access key for {self.address(key)}",
                hint="sluice connection add NAME --access-key KEY, or give boto3 one: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.",
                bucket=self.name, key=key,
            )  # fmt: skip
        if isinstance(error, (ProfileNotFound, ConfigNotFound, InvalidConfigError)):
            return ConfigurationError(f"the connection {self._connection.name} cannot be used: {error}", hint="Correct its profile.")
        if isinstance(error, (ParamValidationError, ValueError)):
            return self._refusal(
                key, f"{self.address(key)} cannot be {what}: its bucket or key is not one of S3", "refused", "Correct the address."
            )
        return self._absence(key, what, f"{type(error).__name__}: {_without_query(str(error))}")

    def _who(self) -> str:
        if self._connection.access_key:
            return f"the access key {self._connection.access_key[:4]}... of the connection {self._connection.name}"
        return f"the connection {self._connection.name}"

    def _refusal(self, key: str, message: str, reason: str, hint: str) -> DatasetError:
        return DatasetError(message, hint=hint, bucket=self.name, key=key, reason=reason, endpoint=self._connection.endpoint)

    def _absence(self, key: str, what: str, why: str) -> UnavailableError:
        return UnavailableError(
            f"{self.address(key)} could not be {what} in {self._patience.attempts} attempts: {why}",
            hint=f"Does {self._connection.shown_endpoint()} answer? sluice connection check {self._connection.name} tries it.",
            bucket=self.name, key=key, endpoint=self._connection.endpoint,
        )  # fmt: skip


class _Arrival:
    """One object on its way into a file, over as many requests as it takes."""

    def __init__(self, bucket: Bucket, key: str, target: Path, largest_bytes: int, size_bytes: int | None, etag: str) -> None:
        self._bucket, self._key, self._target = bucket, key, target
        self._largest_bytes, self._size_bytes, self._etag = largest_bytes, size_bytes, etag
        self._patience = bucket._patience
        self._given_size_bytes = size_bytes
        self._received = 0
        self._is_md5 = True
        self._sha1, self._md5 = self._digests()

    @staticmethod
    def _digests() -> tuple[Any, Any]:
        return hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)

    def receive(self) -> str:
        why = ""
        for attempt in range(self._patience.attempts):
            if attempt:
                time.sleep(self._patience.wait_s * 2 ** (attempt - 1))
            try:
                with self._bucket._translated(self._key, "read"):
                    self._receive_rest()
            except _CutOff as error:
                why = str(error)
                continue
            why = self._damage()
            if not why:
                return str(self._sha1.hexdigest())
            self._begin_anew()
        raise UnavailableError(
            f"{self._bucket.address(self._key)} did not arrive whole in {self._patience.attempts} attempts: {why}",
            hint="Try again; if it stays so, the line or the object is damaged: compare it with its source and write it anew.",
            bucket=self._bucket.name, key=self._key,
        )  # fmt: skip

    def _receive_rest(self) -> None:
        """Raises ``_CutOff`` when the body ends early; what came is kept."""
        request: dict[str, Any] = {"Bucket": self._bucket.name, "Key": self._key}
        if self._etag:
            request["IfMatch"] = self._etag
        if self._received:
            request["Range"] = f"bytes={self._received}-"
        answer = self._ask(request)
        self._note(answer)
        with answer["Body"] as body, self._target.open("r+b" if self._received else "wb") as file:
            file.seek(self._received)
            try:
                while chunk := body.read(_CHUNK_BYTES):
                    self._take(chunk, file)
            except _broken_bodies() as error:
                raise _CutOff(f"the body ended after {self._received:,} bytes ({type(error).__name__})") from error
        if self._size_bytes is not None and self._received < self._size_bytes:
            raise _CutOff(f"the body ended after {self._received:,} of {self._size_bytes:,} bytes")

    def _ask(self, request: dict[str, Any]) -> Any:
        from botocore.exceptions import ClientError

        try:
            return self._bucket._client.get_object(**request)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
                raise self._bucket._refusal(
                    self._key,
                    f"{self._bucket.address(self._key)} was changed while it was read",
                    "changed",
                    "Import again when nobody writes there.",
                ) from error
            raise

    def _note(self, answer: Any) -> None:
        self._etag = self._etag or answer.get("ETag", "")
        if answer.get("ServerSideEncryption", "").startswith("aws:kms") or answer.get("SSECustomerAlgorithm"):
            self._is_md5 = False  # the ETag is then that of the encrypted bytes
        if not self._received and self._size_bytes is None and "ContentLength" in answer:
            self._size_bytes = answer["ContentLength"]
        if (self._size_bytes or 0) > self._largest_bytes:
            raise self._too_large()

    def _take(self, chunk: bytes, file: Any) -> None:
        if self._received + len(chunk) > self._largest_bytes:
            raise self._too_large()
        file.write(chunk)
        self._sha1.update(chunk)
        self._md5.update(chunk)
        self._received += len(chunk)

    def _too_large(self) -> DatasetError:
        return self._bucket._refusal(
            self._key, f"{self._bucket.address(self._key)} has more than the {self._largest_bytes:,} bytes allowed", "too large",
            "Leave it out, or copy it to this host and import the folder.",
        )  # fmt: skip

    def _damage(self) -> str:
        """What is wrong with the content that has come; '' when nothing is."""
        if self._size_bytes is not None and self._received != self._size_bytes:
            return f"{self._received:,} bytes came, and the store says {self._size_bytes:,}"
        match = _MD5.fullmatch(self._etag)
        if match and self._is_md5 and match[1] != self._md5.hexdigest():
            return f"its checksum (MD5) is {self._md5.hexdigest()}, and the store says {match[1]}"
        return ""

    def _begin_anew(self) -> None:
        self._received, self._size_bytes = 0, self._given_size_bytes
        self._sha1, self._md5 = self._digests()


class _CutOff(Exception):  # noqa: N818 - never seen outside
    """The body ended early."""


def _broken_bodies() -> tuple[type[Exception], ...]:
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError
    from urllib3.exceptions import HTTPError

    return IncompleteReadError, ReadTimeoutError, ResponseStreamingError, HTTPError, ConnectionError, TimeoutError


def _make_client(connection: Connection, patience: Patience) -> Any:
    """Checksums beyond MD5 only where S3 demands them: stores of other makers do not know the newer ones."""
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=patience.connect_timeout_s,
        read_timeout=patience.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=patience.threads * 2,
        s3={"addressing_style": connection.addressing},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    keys = {}
    if connection.access_key:
        keys = {"aws_access_key_id": connection.access_key, "aws_secret_access_key": connection.secret.reveal()}
    try:
        core = botocore.session.get_session()
        core.register_component("data_loader", _loader())
        session = boto3.session.Session(profile_name=connection.profile or None, botocore_session=core, **keys)
        region = connection.region or session.region_name or "us-east-1"
        where = {"endpoint_url": connection.endpoint or None, "verify": connection.authority or None}
        return session.client("s3", region_name=region, config=config, **where)
    except (BotoCoreError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"the connection {connection.name} cannot be used: {_without_query(str(error))}",
            hint="Correct its endpoint, region or profile.",
        ) from error


@cache
def _loader() -> Any:
    """The descriptions of S3, which take a third of a second to read, once for all clients."""
    from botocore.loaders import create_loader

    return create_loader()


def _without_query(text: str) -> str:
    """A message of botocore may hold a whole URL; signatures are in its query."""
    return re.sub(r"\?[^\s\"']*", "?...", text)


def in_parallel(threads: int, work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Each item once, several at a time; after the first error nothing new begins, and it is raised when those at work have ended."""
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(max(1, min(threads, len(items))), thread_name_prefix="sluice-s3") as pool:
        waiting = [pool.submit(work, item) for item in items]
        try:
            wait(waiting, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for future in waiting:
        if not future.cancelled():
            future.result()

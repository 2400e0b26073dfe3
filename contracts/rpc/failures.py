"""Errors on the wire: a status code for any client, and the whole error of the tree in the trailing metadata for ours."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Any

from contracts import errors
from contracts.errors import SluiceError

#: Trailing metadata with the error as UTF-8 JSON, ``SluiceError.to_dict``.
ERROR_KEY = "sluice-error-bin"
#: Metadata of a request: how large an error its client takes. gRPC's default for all metadata of an answer is 8 KiB.
ERROR_BYTES_KEY = "sluice-error-bytes"
LEAST_ERROR_BYTES = 4096

#: gRPC status by class of the tree; the nearest class above decides.
_STATUS: dict[type[SluiceError], str] = {
    SluiceError: "INTERNAL",
    errors.RequestError: "INVALID_ARGUMENT",
    errors.NotFoundError: "NOT_FOUND",
    errors.ConflictError: "FAILED_PRECONDITION",
    errors.ConfigurationError: "FAILED_PRECONDITION",
    errors.LinkError: "FAILED_PRECONDITION",
    errors.UnavailableError: "UNAVAILABLE",
    errors.NoGpuError: "RESOURCE_EXHAUSTED",
    errors.ResultError: "FAILED_PRECONDITION",
    errors.JobFailedError: "FAILED_PRECONDITION",
    errors.InternalError: "INTERNAL",
}


def status_of(error: SluiceError) -> str:
    """The name of the gRPC status code for this error."""
    return next(_STATUS[parent] for parent in type(error).__mro__ if parent in _STATUS)


def pack_error(error: SluiceError, most_bytes: int = LEAST_ERROR_BYTES) -> bytes:
    """The error as JSON of at most so many bytes: what is too long is cut, the fields first, then the hint, then the message."""
    document = error.to_dict()["error"]
    for shorter in (document, {**document, "fields": {}}, {**document, "fields": {}, "hint": _cut(document["hint"], most_bytes // 4)}):
        packed = _pack(shorter)
        if len(packed) <= most_bytes:
            return packed
    return _pack({**shorter, "message": _cut(document["message"], most_bytes // 4)})


def unpack_error(packed: bytes) -> SluiceError | None:
    """The error of a class of the tree, by its code; None for what no version of Sluice has written."""
    try:
        document = json.loads(packed)["error"]
        error_type = next((known for known in tree() if known.code == document["code"]), errors.InternalError)
        return error_type(document["message"], hint=document["hint"], **document["fields"])
    except (ValueError, KeyError, TypeError):
        return None


def tree() -> Iterator[type[SluiceError]]:
    """Every class of the tree."""
    return (value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, SluiceError))


def _pack(document: dict[str, Any]) -> bytes:
    return json.dumps({"error": document}, default=str).encode()


def _cut(text: str, most_bytes: int) -> str:
    # \u escapes make up to six bytes of one character.
    return text if len(json.dumps(text)) <= most_bytes else text[: most_bytes // 6] + " ..."


def find_metadata(metadata: Iterable[tuple[str, Any]] | None, key: str) -> Any:
    """The last value of a key, None when it is not there."""
    found = [value for name, value in metadata or () if name == key]
    return found[-1] if found else None

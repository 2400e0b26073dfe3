"""Errors on the wire: every class of the tree comes back as itself, at any size that the client takes."""

from __future__ import annotations

import grpc
import pytest

from contracts import errors
from contracts.errors import SluiceError
from contracts.rpc.failures import pack_error, status_of, tree, unpack_error


@pytest.mark.parametrize("error_type", list(tree()), ids=lambda error_type: error_type.__name__)
def test_every_error_of_the_tree_comes_back_as_itself(error_type: type[SluiceError]) -> None:
    error = error_type("7 of 8 failed: ü\n", hint="Look.", asked=7, names=["a"], job={"id": "t1"})
    came = unpack_error(pack_error(error, 10_000))
    assert type(came) is error_type
    assert came is not None
    assert came.to_dict() == error.to_dict()


@pytest.mark.parametrize("error_type", list(tree()), ids=lambda error_type: error_type.__name__)
def test_every_error_has_a_status_that_is_no_success(error_type: type[SluiceError]) -> None:
    assert grpc.StatusCode[status_of(error_type(""))] is not grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ParameterError(""), "INVALID_ARGUMENT"),
        (errors.NotFoundError(""), "NOT_FOUND"),
        (errors.ConflictError(""), "FAILED_PRECONDITION"),
        (errors.NoGpuError(""), "RESOURCE_EXHAUSTED"),
        (errors.PullError(""), "UNAVAILABLE"),
        (errors.InternalError(""), "INTERNAL"),
    ],
)
def test_the_status_says_who_can_act(error: SluiceError, status: str) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("length", [100, 5_000, 100_000])
def test_an_error_is_cut_to_what_the_client_takes_and_says_the_essential(length: int) -> None:
    error = errors.ImageError("the build failed: " + "é" * length, hint="h" * length, log="x" * length)
    packed = pack_error(error, 4096)
    came = unpack_error(packed)
    assert len(packed) <= 4096
    assert isinstance(came, errors.ImageError)
    assert came.message.startswith("the build failed: é")


@pytest.mark.parametrize(
    "packed", [b"", b"\xff", b"[]", b'{"error": {}}', b'{"error": {"code": "conflict", "message": "m", "hint": "", "fields": 3}}']
)
def test_what_is_no_error_is_none(packed: bytes) -> None:
    assert unpack_error(packed) is None


def test_a_code_that_is_not_known_here_is_still_an_error() -> None:
    came = unpack_error(b'{"error": {"code": "of_tomorrow", "message": "m", "hint": "h", "fields": {"a": 1}}}')
    assert isinstance(came, errors.InternalError)
    assert (came.message, came.hint, came.fields) == ("m", "h", {"a": 1})

"""How a call ends badly: a status for any client, the whole error for ours."""

from __future__ import annotations

import logging
from typing import NoReturn

import grpc

from contracts.errors import InternalError, RequestError, SluiceError
from contracts.rpc.failures import ERROR_BYTES_KEY, ERROR_KEY, LEAST_ERROR_BYTES, find_metadata, pack_error, status_of

log = logging.getLogger(__name__)
_MOST_ERROR_BYTES = 1 << 20
_DETAILS_LENGTH = 500


async def refuse(context: grpc.aio.ServicerContext, error: Exception) -> NoReturn:
    """End the call with this error. What is not of the tree is a defect of ours: its traceback goes to the log, its words to the client."""
    if not isinstance(error, SluiceError):
        log.error("a defect in Sluice", exc_info=error)
        words = f"this is a defect in Sluice: {type(error).__name__}: {error}"
        error = InternalError(words, hint="Please report it with the traceback in the service's log.", exception=type(error).__name__)
    await _abort(context, error, status_of(error))


async def refuse_unknown(context: grpc.aio.ServicerContext) -> NoReturn:
    """End the call of somebody whom the door does not know."""
    error = RequestError(
        "the token is missing or unknown", hint="Send `authorization: Bearer TOKEN` with a token that the service's token_file has."
    )
    await _abort(context, error, "UNAUTHENTICATED")


async def _abort(context: grpc.aio.ServicerContext, error: SluiceError, status: str) -> NoReturn:
    packed = pack_error(error, _error_bytes(context))
    await context.abort(grpc.StatusCode[status], error.message[:_DETAILS_LENGTH], ((ERROR_KEY, packed),))
    raise AssertionError("unreachable: abort raises")


def _error_bytes(context: grpc.aio.ServicerContext) -> int:
    text = str(find_metadata(context.invocation_metadata(), ERROR_BYTES_KEY) or "")
    return min(int(text), _MOST_ERROR_BYTES) if text.isdecimal() and text.isascii() else LEAST_ERROR_BYTES

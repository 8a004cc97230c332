"""A service's gRPC status as an activity's error: whether another attempt makes sense, and the token counts it carries."""

from __future__ import annotations

import grpc
from temporalio.exceptions import ApplicationError

from services.process.status import error_info
from tandem.method.tokens import TokenCounts

_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ABORTED,
}


def counts_in(error: grpc.aio.AioRpcError) -> TokenCounts:
    """The counts that a service puts into the status of work that it could not log."""
    metadata = error_info(error).metadata
    return TokenCounts(prompt=int(metadata.get("input_tokens", 0)), discarded=int(metadata.get("discarded_tokens", 0)))


def application_error(error: grpc.aio.AioRpcError, detail: object, is_last: bool = False) -> ApplicationError:
    """What an attempt failed with; `is_last`: there must be no other."""
    return ApplicationError(
        error.details() or error.code().name,
        detail,
        type=error_info(error).reason or error.code().name,
        non_retryable=is_last or error.code() in _FINAL,
    )

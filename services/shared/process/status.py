"""Errors as gRPC statuses: one table, google.rpc details, and one table from engine errors to ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tandem.client.contract import readable
from tandem.method.errors import (
    PROMPT_REFUSED,
    FailedPrecondition,
    Fenced,
    InvalidArgument,
    LimitReached,
    NotFound,
    PermissionDenied,
    RequestLogUnavailable,
    ResourceExhausted,
    TandemError,
    Unauthenticated,
    Unavailable,
    vendor_in,
)

DOMAIN = "tandem.v1"
_MAX_MESSAGE_BYTES = 1000

STATUS_OF: dict[type[TandemError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LimitReached: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    RequestLogUnavailable: grpc.StatusCode.UNAVAILABLE,
    Fenced: grpc.StatusCode.ABORTED,
}


def to_status(error: TandemError) -> status_pb2.Status:
    """google.rpc.Status of an error: ErrorInfo always, BadRequest for a field, QuotaFailure for a tenant's limit,
    RetryInfo where waiting helps.
    """
    message = _shortened(str(error))
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if isinstance(error, InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, LimitReached):
        used_up = error_details_pb2.QuotaFailure.Violation(
            subject=f"tenant:{error.tenant}", description=error.metadata["limit"]
        )
        details.append(error_details_pb2.QuotaFailure(violations=[used_up]))
    if isinstance(error, ResourceExhausted | Unavailable) and error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    return status_pb2.Status(code=STATUS_OF[type(error)].value[0], message=message, details=packed)


def _shortened(message: str) -> str:
    """A message may quote what the caller sent, half a surrogate pair too. It travels up to three times in the
    trailers, which hold 8 KiB.
    """
    if len(encoded := readable(message).encode()) <= _MAX_MESSAGE_BYTES:
        return encoded.decode()
    half = _MAX_MESSAGE_BYTES // 2
    return f"{encoded[:half].decode(errors='ignore')} … {encoded[-half:].decode(errors='ignore')}"


def retry_after_seconds(error: grpc.RpcError) -> float | None:
    """Return when the service may be asked again, where its status says so (google.rpc.RetryInfo)."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an RpcError is a Call
    info = error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return float(info.retry_delay.ToMilliseconds()) / 1000
    return None


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Return the ErrorInfo that a status carries; an empty one when it carries none."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an RpcError is a Call
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            break
    return info


_RETRY_QUEUE_SECONDS = 1.0
# By the `reason` of each engine error: the engine knows nothing of gRPC, and this module nothing of engines.
_FROM_ENGINE: dict[str, Callable[..., TandemError]] = {
    "PROMPT_TOO_LONG": partial(InvalidArgument, field="question"),
    PROMPT_REFUSED: partial(InvalidArgument, field="messages"),
    "QUEUE_FULL": ResourceExhausted,
    "DUPLICATE_REQUEST": FailedPrecondition,
    "ENGINE_STOPPED": Unavailable,
    "GENERATION_FAILED": FailedPrecondition,
    "INVALID_SCHEMA": partial(InvalidArgument, field="json_schema"),
    "SCHEMA_NOT_SUPPORTED": FailedPrecondition,
    "UNKNOWN_MODEL": FailedPrecondition,
    "API_REFUSED": FailedPrecondition,
    "API_BAD_REPLY": FailedPrecondition,
    "API_UNAVAILABLE": Unavailable,
    "ENGINE_ERROR": FailedPrecondition,
}


def from_engine(error: Exception) -> TandemError | None:
    """Return the error that a caller sees for an engine's error; None for an error that is not the engine's."""
    reason = getattr(error, "reason", "")
    known = _FROM_ENGINE.get(reason)
    if known is None:
        return None
    found, vendor = known(str(error), reason=reason), vendor_in(getattr(error, "vendor", {}))
    found.metadata.update(vendor)
    if isinstance(found, ResourceExhausted | Unavailable):
        is_own = isinstance(found, ResourceExhausted) and not vendor
        default = _RETRY_QUEUE_SECONDS if is_own else None
        given = getattr(error, "retry_after_s", None)
        found.retry_after_s = default if given is None else given
    return found

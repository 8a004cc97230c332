"""Errors that callers see, and the one table that turns them into gRPC statuses."""

from __future__ import annotations

import grpc


class TandemError(Exception):
    """An error with a gRPC status and a machine-readable reason (google.rpc.ErrorInfo).

    TandemError
    ├── InvalidArgument      the request breaks a rule; `field` names where
    ├── NotFound             no such request or profile
    ├── FailedPrecondition   right request, wrong moment or wrong deployment
    ├── ResourceExhausted    budget or queue; `retry_after_s` where waiting helps
    ├── Unavailable          a process cannot be reached; retrying may help
    ├── Fenced               a newer attempt owns the request's stream
    └── Cancelled            the request was cancelled
    """

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason
        self.metadata = metadata


class InvalidArgument(TandemError):
    default_reason = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, field: str, reason: str = "") -> None:
        super().__init__(message, reason=reason, field=field)
        self.field = field


class NotFound(TandemError):
    default_reason = "NOT_FOUND"


class FailedPrecondition(TandemError):
    default_reason = "FAILED_PRECONDITION"


class ResourceExhausted(TandemError):
    default_reason = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class Unavailable(TandemError):
    default_reason = "UNAVAILABLE"


class Fenced(TandemError):
    default_reason = "FENCED"


class Cancelled(TandemError):
    default_reason = "CANCELLED"


STATUS_OF: dict[type[TandemError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Fenced: grpc.StatusCode.ABORTED,
    Cancelled: grpc.StatusCode.CANCELLED,
}

_RETRY_QUEUE_SECONDS = 1.0


def from_engine(error: Exception) -> TandemError | None:
    """What an engine's refusal is to a caller; None for an error that is none of the engine's own.

    The engine knows nothing of gRPC and this module nothing of engines: they agree on the `reason`.
    """
    reason, message = getattr(error, "reason", ""), str(error)
    match reason:
        case "PROMPT_TOO_LONG":
            return InvalidArgument(message, field="question", reason=reason)
        case "QUEUE_FULL":
            return ResourceExhausted(message, reason=reason, retry_after_s=_RETRY_QUEUE_SECONDS)
        case "DUPLICATE_REQUEST":
            return FailedPrecondition(message, reason=reason)
        case "ENGINE_STOPPED":
            return Unavailable(message, reason=reason)
    return None

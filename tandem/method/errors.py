"""Errors that callers see. services.shared.process.status turns them into gRPC statuses."""

from __future__ import annotations

from collections.abc import Mapping


class TandemError(Exception):
    """An error with a gRPC status and a machine-readable reason (google.rpc.ErrorInfo).

    TandemError
    ├── InvalidArgument      the request breaks a rule; `field` names where
    ├── NotFound             no such request or profile
    ├── FailedPrecondition   right request, wrong moment or wrong deployment
    ├── ResourceExhausted    budget or queue; `retry_after_s` where waiting helps
    │   └── LimitReached     a limit of the tenant
    ├── Unauthenticated      no credential, or one that is not valid
    ├── PermissionDenied     a valid credential that does not allow this
    ├── Unavailable          a process cannot be reached; retrying may help
    └── Fenced               a newer attempt owns the request's stream
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

    def __init__(self, message: str, *, reason: str = "", retry_after_s: float | None = None, **metadata: str) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class LimitReached(ResourceExhausted):
    """Of a tenant. `limit` names it, `most` is its value and `left` what is left of it, as text."""

    default_reason = "RATE_LIMIT_EXCEEDED"

    def __init__(
        self, message: str, *, reason: str, tenant: str, limit: str, most: str, left: str, retry_after_s: float | None
    ) -> None:
        super().__init__(message, reason=reason, retry_after_s=retry_after_s, limit=limit, most=most, left=left)
        self.tenant = tenant


class Unauthenticated(TandemError):
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(TandemError):
    default_reason = "PERMISSION_DENIED"


class Unavailable(TandemError):
    default_reason = "UNAVAILABLE"

    def __init__(self, message: str, *, reason: str = "", retry_after_s: float | None = None, **metadata: str) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class RequestLogUnavailable(Unavailable):
    """Redis does not answer, or takes nothing for now: what was written may be written again."""

    default_reason = "REQUEST_LOG_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class Fenced(TandemError):
    default_reason = "FENCED"


PROFILE_MISMATCH = "PROFILE_MISMATCH"
"""Reason of a FailedPrecondition: a process serves another profile than the one that the request was planned with."""
PROMPT_REFUSED = "PROMPT_REFUSED"
"""Reason of an InvalidArgument: a model's chat template does not take the conversation, for example two user messages
in a row, or its API refuses the request.
"""
NOT_AGAIN = (PROFILE_MISMATCH, PROMPT_REFUSED, "PROMPT_TOO_LONG")
"""Reasons of a model's failure that asking again does not change: an operator does, or another conversation."""
LLM_UNAVAILABLE, SLM_UNAVAILABLE = "LLM_UNAVAILABLE", "SLM_UNAVAILABLE"
"""Reasons of a request without an answer: which of its models failed."""
VENDOR_STATUS, VENDOR_CODE = "vendor_status", "vendor_code"
"""In an error's metadata, where a model is behind an API: the HTTP status of its refusal, and its code where no means
are left.
"""


def vendor_in(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an error's metadata say of a model's API, for the error that is made of it."""
    return {name: metadata[name] for name in (VENDOR_STATUS, VENDOR_CODE) if metadata.get(name)}

"""What the errors of both vendors' SDKs mean, by HTTP's status: refusals of one request, limits, and failures of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from services.engine.api import (
    ApiRefused,
    ApiUnavailable,
    EngineError,
    PromptTooLong,
    QueueFull,
    SchemaNotSupported,
    UnknownModel,
)

_NEVER_AGAIN = ("insufficient_quota", "billing_hard_limit_reached")
_SCHEMA_FIELDS = ("response_format", "output_config", "schema")
_TOO_LONG = ("context", "too long", "maximum length")
_ENDED_BY_A_PROXY = (504, 524)  # which waited for the API in vain
# By name: the SDKs have their errors from different copies of one HTTP library.
_UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "WriteError", "WriteTimeout")


@dataclass(frozen=True, slots=True)
class SdkErrors:
    """The classes of an SDK: of a reply that is an error (with `status_code` and `response`), and of all its errors."""

    status: type[Any]
    any: type[Exception]


def explain(error: Exception, sdk: SdkErrors) -> EngineError | None:
    """The error that stands for one of the SDK; None for any other."""
    if isinstance(error, sdk.status):
        return _of_status(error)
    if isinstance(error, sdk.any) or _is_of_transport(error):
        return ApiUnavailable(f"the API does not answer: {str(error) or type(error).__name__}")
    return None


def _is_of_transport(error: Exception) -> bool:
    """Anthropic's SDK lets those of a stream through as they are."""
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def may_be_paid(error: Exception, sdk: SdkErrors) -> bool:
    """Whether the API may have read the prompt of a request that failed so: it was sent whole, and no reply has refused it."""
    if isinstance(error, sdk.status):
        return error.status_code < 400 or error.status_code in _ENDED_BY_A_PROXY
    return type(error.__cause__).__name__ not in _UNSENT


def _of_status(error: Any) -> EngineError:
    said, again = str(error), retry_after(error.response.headers)
    match error.status_code:
        case 429 if getattr(error, "code", None) in _NEVER_AGAIN:
            return ApiRefused(f"the API's account has no means left: {said}")
        case 429:
            when = f"; it asks for a pause of {again:.0f} s" if again else ""
            return QueueFull(f"the API accepts no more requests{when}: {said}", again)
        case 404:
            return UnknownModel(f"the API does not have the model: {said}")
        case 401 | 403:
            return ApiRefused(f"the API refuses the key: {said}")
        case 400 | 422 if any(name in said for name in _SCHEMA_FIELDS):
            return SchemaNotSupported(f"the API does not hold its text to this JSON schema: {said}")
        case 400 if any(word in said.lower() for word in _TOO_LONG):
            return PromptTooLong(said)
        case status if 400 <= status < 500 and status not in (408, 409):
            return ApiRefused(f"the API refuses the request: {said}")
    # 529 is Anthropic's overloaded_error; an error within a stream comes with the stream's 200.
    return ApiUnavailable(f"the API fails: {said}", again)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from OpenAI's `retry-after-ms` and HTTP's `Retry-After` (a number or a date); None where the API does not say."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        given = headers.get("retry-after", "")
        if not given:
            return None
        if given.replace(".", "", 1).isdigit():
            return float(given)
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None

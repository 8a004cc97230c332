"""Errors of HTTP, from the gateway's statuses and from bodies that cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from tandem.errors import RequestError
from tandem.method.errors import VENDOR_CODE, VENDOR_STATUS
from tandem.openai.parameters import RefusedParameter
from tandem.openai.reply import ApiError

# The names that the gateway gives to what OpenAI calls otherwise.
_PARAMS = {
    "profile": "model",
    "question": "messages",
    "json_schema": "response_format",
    "max_answer_tokens": "max_completion_tokens",
    "stop_strings": "stop",
    "request_id": "Idempotency-Key",
    "sampling.temperature": "temperature",
    "sampling.top_p": "top_p",
    "sampling.seed": "seed",
    "batch_id": "Idempotency-Key",
    "tools.parameters": "tools",
    "messages.tool_calls": "messages",
    **{name: name for name in ("input_file_id", "purpose", "file", "limit", "metadata", "tools", "tool_choice")},
}
_CODES = {
    "UNKNOWN_PROFILE": "model_not_found",
    "QUESTION_TOO_LONG": "context_length_exceeded",
    "PROMPT_TOO_LONG": "context_length_exceeded",
    "QUOTA_EXCEEDED": "insufficient_quota",
    "MESSAGE_TOO_LARGE": "request_too_large",
}
_SPENT = ("insufficient_quota", "billing_hard_limit_reached")
_HTTP_CODES = {413: "request_too_large", 429: "too_many_waiting"}
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
# By reason, where the status alone would say something else to an HTTP client.
_STATUSES_OF_REASONS = {
    "UNKNOWN_PROFILE": 404,
    "BUDGET_TOO_SMALL": 400,
    "SESSION_BUDGET_SPENT": 400,  # not 429, which agents repeat
    "PROMPT_REFUSED": 400,
    "PROMPT_TOO_LONG": 400,
    "PROFILE_MISMATCH": 503,
    "FILE_TOO_LARGE": 413,
    "MESSAGE_TOO_LARGE": 413,
    "FILE_QUOTA_EXCEEDED": 413,
    "UPLOAD_TOO_SLOW": 408,
    "NO_FILE_STORE": 501,
    "BATCHES_NOT_LIMITED": 403,
}
CANCELLED = 499
OVERLOADED = 529
"""Anthropic's own status."""
_OF_SERVERS = (500, 502, 503, 504, OVERLOADED)
_MAX_RETRY_SECONDS = 60.0  # OpenAI's clients wait no longer, but ask earlier
# OpenAI's names of what its headers count; the rest are Tandem's.
_COUNTED = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}
_OF_PYDANTIC = re.compile(
    r"str|(list|literal)\[.*\]|\[key\]|[A-Z]\w+"
)  # its names for members of a union and for names, in a path


@dataclass(frozen=True, slots=True)
class HttpError(ApiError):
    retry_after_s: float | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False  # the connection

    @property
    def headers(self) -> dict[str, str]:
        """OpenAI's clients repeat a request that is in conflict, or has no money left; that would change nothing."""
        after = self.retry_after_s
        headers = {} if after is None else {"retry-after": str(math.ceil(after))}
        headers |= {"connection": "close"} if self.closes else {}
        is_final = self.limits and (after is None or after > _MAX_RETRY_SECONDS)
        is_final = is_final or self.status in (409, CANCELLED) or (self.code in _SPENT and not self.limits)
        return {**headers, **_rate_limit_headers(self), **({"x-should-retry": "false"} if is_final else {})}


def from_gateway(error: RequestError) -> HttpError:
    status = _STATUSES_OF_REASONS.get(error.reason) or _STATUSES.get(error.code.name, 500)
    status = _of_vendor(error.metadata) or status
    is_budget = error.reason == "BUDGET_TOO_SMALL"
    field = error.field if error.reason == "NOT_PASSED_ON" else _PARAMS.get(error.field, _own(error.field))
    is_silent = error.code.name == "DEADLINE_EXCEEDED" and not error.reason
    return HttpError(
        status,
        f"the gateway does not answer: try again in a moment ({error})"
        if error.is_connection_lost or is_silent
        else str(error),
        "tandem.max_cost_usd" if is_budget else field,
        error.metadata.get(VENDOR_CODE) or _CODES.get(error.reason) or error.reason.lower() or None,
        error.retry_after_s,
        error.metadata if "limit" in error.metadata else {},
    )


def _of_vendor(metadata: Mapping[str, str]) -> int:
    """Return the status with which a model's API has refused, where it is one of HTTP's or OVERLOADED; else 0."""
    status = int(metadata.get(VENDOR_STATUS, 0))
    return status if 400 <= status < 500 or status in _OF_SERVERS else 0


def from_http(error: HTTPException) -> HttpError:
    headers = error.headers or {}
    return HttpError(
        error.status_code,
        str(error.detail),
        code=_HTTP_CODES.get(error.status_code),
        retry_after_s=float(headers["retry-after"]) if "retry-after" in headers else None,
        closes=headers.get("connection") == "close",
    )


def _rate_limit_headers(error: HttpError) -> dict[str, str]:
    """Return what is left of the limit that refused, and when it resets."""
    if not error.limits:
        return {}
    name = error.limits["limit"]
    counted = _COUNTED.get(name, name.replace("_", "-"))
    reset = {} if error.retry_after_s is None else {f"x-ratelimit-reset-{counted}": f"{error.retry_after_s:g}s"}
    return {
        f"x-ratelimit-limit-{counted}": error.limits["most"],
        f"x-ratelimit-remaining-{counted}": error.limits["left"],
        **reset,
    }


def from_parameter(error: RefusedParameter) -> HttpError:
    return HttpError(400, str(error), error.param, error.code)


def deepest(problems: Sequence[Any]) -> Any:
    """Return, of the problems that pydantic found, the one that is deepest in the body: of alternatives it is the one
    that was meant.
    """
    return max(problems, key=lambda found: len(found["loc"]))


def from_validation(problems: Sequence[Any]) -> HttpError:
    problem = deepest(problems)
    path = [part for part in problem["loc"] if part != "body" and not _OF_PYDANTIC.fullmatch(str(part))]
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    code = "unsupported_value" if problem["type"] == "extra_forbidden" else "invalid_value"
    return HttpError(400, f"{named or 'body'}: {problem['msg']}", named or None, code)


def _own(field: str) -> str | None:
    """`budget.max_cost_usd` and `stop.thresholds` are Tandem's own options; so are the rest."""
    return f"tandem.{field.rpartition('.')[2]}" if field and field != "messages" else field or None

"""What the errors of both vendors' SDKs mean, by HTTP's status: refusals of one request, limits, and failures of the
API.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from services.models.engine.api import (
    ApiBadReply,
    ApiRefused,
    ApiUnavailable,
    EngineError,
    PromptRefused,
    PromptTooLong,
    QueueFull,
    SchemaNotSupported,
    UnknownModel,
)
from services.models.engine.remote.circuit import bounded_wait, seconds_until
from services.models.engine.remote.events import said_in
from tandem.method.errors import VENDOR_CODE, VENDOR_STATUS, vendor_in

_NEVER_AGAIN = ("insufficient_quota", "billing_hard_limit_reached")
_SCHEMA_FIELDS = ("response_format", "output_config", "schema")
_TOO_LONG = ("context", "too long", "maximum length")
_ENDED_BY_A_PROXY = (504, 524)  # which waited for the API in vain
# By name: the SDKs have their errors from different copies of one HTTP library.
_UNREACHED = ("ConnectError", "ConnectTimeout")
_UNSENT = (*_UNREACHED, "PoolTimeout", "WriteError", "WriteTimeout")
_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|gsk|xai)-[\w*.…-]+")
_LEAST_SECRET, _WITHHELD = 4, "…"
_MOST_BYTES, _MOST_SECONDS = 1 << 16, 10.0
"""Of the body of an error: what is read of it."""


class ErrorReply(Exception):
    """A status that is no success, with its headers and what its body says."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, url: str = "") -> None:
        text, self.code = body.decode(errors="replace"), None
        with suppress(ValueError, RecursionError):
            error = json.loads(text)
            error = error.get("error", error) if isinstance(error, dict) else error
            text, self.code = said_in(error), error.get("code") if isinstance(error, dict) else None
        super().__init__(f"{status}: {said_in(text)}")
        self.status, self.headers, self._url = status, headers, url

    @property
    def target(self) -> str:
        """Scheme, host and port of a redirect's address."""
        with suppress(ValueError):
            at = urlsplit(urljoin(self._url, self.headers.get("location", "")))
            return said_in(f"{at.scheme}://{at.netloc.rpartition('@')[2]}")
        return "another address"


def client_options(client: type[Any]) -> dict[str, Any]:
    """For an SDK whose HTTP client is of this class: nothing is sent twice, elsewhere, or read without a bound."""
    return {
        "max_retries": 0,
        "http_client": client(follow_redirects=False, event_hooks={"response": [_require_success]}),
        "default_headers": {"accept-encoding": "identity"},  # a few bytes may be gigabytes, packed
    }


async def _require_success(response: Any) -> None:
    """Before the body is read. Raises ErrorReply, ApiBadReply."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiBadReply("the API packs its reply, which it was not asked to")
    if 200 <= response.status_code < 300:
        return
    body = bytearray()
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MOST_BYTES:
                    break
    raise ErrorReply(response.status_code, response.headers, bytes(body), str(response.request.url))


def origin_of(error: Exception) -> Exception:
    """Anthropic's SDK takes what the hook raises for a broken connection."""
    return error.__cause__ if isinstance(error.__cause__, ErrorReply | EngineError) else error


def explain(error: Exception, sdk: type[Exception]) -> EngineError | None:
    """The error that stands for one of the SDK or of its HTTP client; None for any other."""
    if isinstance(error, ErrorReply):
        return _of_status(error)
    if isinstance(error, sdk) or _is_of_transport(error):
        return ApiUnavailable(f"the API does not answer: {str(error) or type(error).__name__}")
    return None


def _is_of_transport(error: Exception) -> bool:
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def may_be_paid(error: Exception) -> bool:
    """Whether the API may have read the prompt of a request that failed so: it was sent whole, and no reply has refused
    it.
    """
    if isinstance(error, ErrorReply):
        return error.status in _ENDED_BY_A_PROXY
    return type(error.__cause__).__name__ not in _UNSENT


def was_reached(error: Exception) -> bool:
    """Whether there was a connection to the API: what happens on one may follow from the request."""
    return type(error.__cause__).__name__ not in _UNREACHED


def withheld(said: str, key: str, url: str) -> str:
    """What an API says, which callers read: without its operator's key, which some repeat, and without its address."""
    for secret in (key, url.rstrip("/"), urlsplit(url).netloc):
        said = said.replace(secret, _WITHHELD) if len(secret) > _LEAST_SECRET else said
    return _LIKE_A_KEY.sub(_WITHHELD, said)


def _of_status(error: ErrorReply) -> EngineError:
    explained = _kind_of(error)
    code = error.code if error.code in _NEVER_AGAIN else ""
    explained.vendor = vendor_in({VENDOR_STATUS: str(error.status), VENDOR_CODE: code})
    return explained


def _kind_of(error: ErrorReply) -> EngineError:
    said, again = str(error), retry_after(error.headers)
    match error.status:
        case 429 if error.code in _NEVER_AGAIN:
            return ApiRefused(f"the API's account has no means left: {said}")
        case 429:
            when = f"; it asks for a pause of {again:.0f} s" if again else ""
            return QueueFull(f"the API accepts no more requests{when}: {said}", again)
        case 404:
            return UnknownModel(f"the API does not have the model: {said}")
        case 401 | 403:
            return ApiRefused(f"the API refuses the operator's key: {said}")
        case 400 | 422 if any(name in said for name in _SCHEMA_FIELDS):
            return SchemaNotSupported(f"the API does not hold its text to this JSON schema: {said}")
        case 400 if any(word in said.lower() for word in _TOO_LONG):
            return PromptTooLong(said)
        case 400 | 413 | 422:
            return PromptRefused(f"the API refuses the request: {said}")
        case status if status < 400:
            return ApiRefused(f"the API redirects to {error.target}, and no redirect is followed: name that address")
        case status if 400 <= status < 500 and status not in (408, 409):
            return ApiRefused(f"the API refuses the request: {said}")
    return ApiUnavailable(f"the API fails: {said}", again)  # 529 is Anthropic's overloaded_error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, an hour at most, from OpenAI's `retry-after-ms` and HTTP's `Retry-After` (a number or a date); None
    where the API does not say.
    """
    try:
        if "retry-after-ms" in headers:
            return bounded_wait(float(headers["retry-after-ms"]) / 1000)
        given = headers.get("retry-after", "")
        if not given:
            return None
        if given.replace(".", "", 1).isdigit():
            return bounded_wait(float(given))
        return bounded_wait(seconds_until(parsedate_to_datetime(given)))
    except (ValueError, TypeError, OverflowError):
        return None

"""Which reply each exception becomes, in one table; what no route takes says so by its method and path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from services.http_gateway import errors
from services.http_gateway.errors import HttpError
from services.http_gateway.exchange import Cancelled
from services.http_gateway.replies import failure
from services.shared.process.web_pages import Refusal
from tandem.client.live_text import TextWasLost
from tandem.errors import RequestError
from tandem.openai.messages_reply import error_body
from tandem.openai.parameters import RefusedParameter
from tandem.openai.responses_reply import with_own_names

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MESSAGES = "/v1/messages"
_SHOWN = 200  # characters of a path
_NOT_EXPECTED = HttpError(500, "internal error; the server's log has the cause", code="internal_error")


def handle_failures(app: FastAPI) -> None:
    """Every exception becomes an error in OpenAI's shape, or in Anthropic's where its API was asked."""
    handlers: dict[type[Exception], Callable[[Any], HttpError]] = {
        RequestError: errors.from_gateway,
        RefusedParameter: errors.from_parameter,
        RequestValidationError: lambda error: errors.from_validation(error.errors()),
        ValidationError: lambda error: errors.from_validation(error.errors()),
        Cancelled: failure,
        TextWasLost: failure,
        Exception: lambda _: _NOT_EXPECTED,  # Starlette logs it besides
    }
    for kind, convert in handlers.items():
        app.exception_handler(kind)(_handler(convert))
    app.exception_handler(HTTPException)(_refuse_http)


def refused_page(refusal: Refusal, path: str) -> JSONResponse:
    """The reply to what a page in a browser may not ask at `path`."""
    return reply_of(HttpError(refusal.status, refusal.message, code=refusal.code), path)


def _handler(convert: Callable[[Any], HttpError]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        return reply_of(convert(error), request.url.path)

    return handle


async def _refuse_http(request: Request, error: HTTPException) -> JSONResponse:
    path = request.scope["raw_path"].decode("latin-1")  # as it was sent, which no control character can be
    asked = f"{request.method} {path if len(path) <= _SHOWN else f'{path[:_SHOWN]}...'}"
    if error.status_code == 404:
        return reply_of(HttpError(404, f"there is nothing at this URL: {asked}", code="unknown_url"), request.url.path)
    if error.status_code == 405:
        allowed = ", ".join(_allowed(request)) or "GET"
        refused = HttpError(405, f"{asked} is not possible: this URL takes {allowed}", code="method_not_supported")
        return reply_of(refused, request.url.path, {"allow": allowed})
    return reply_of(errors.from_http(error), request.url.path)


def _allowed(request: Request) -> list[str]:
    """Return the methods that some route takes at this path: the router knows those of the first one alone."""
    routes = [route for route in request.app.router.routes if not isinstance(route, Mount)]
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [
        method for method, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def reply_of(error: HttpError, path: str, more: dict[str, str] | None = None) -> JSONResponse:
    """Reply in the shape of the API that `path` belongs to."""
    if path == "/v1/responses":
        error = with_own_names(error)
    is_anthropics = path == _MESSAGES or path.startswith(f"{_MESSAGES}/")
    body = error_body(error) if is_anthropics else error.body
    status = 503 if error.status == errors.OVERLOADED and not is_anthropics else error.status
    return JSONResponse(body, status, {**error.headers, **(more or {})})

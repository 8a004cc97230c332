"""Limits on the size of a request's body, and of the bodies that are held at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

MAX_HELD_BYTES = 128 * 2**20
"""A quarter of the memory that the chart gives the HTTP gateway: of each body there is a copy or two while it is read
as JSON.
"""

_LINGER_SECONDS, _LINGER_BYTES = 0.5, 16 * 2**20
UPLOADS = "/v1/files"
"""Uploads are bounded by their own route, which passes them on without keeping them."""


class BodyLimit:
    """Answers 413 to a body of more than `max_bytes`: by its Content-Length before any of it is read, else as soon as
    more came.

    Answers 503 to one that brings the bodies of all running requests above MAX_HELD_BYTES: a body is held until its
    request ends.

    Not FastAPI's own `max_body_size`: the version that vLLM pins does not know it, and would ignore it silently.
    """

    def __init__(self, app: Any, max_bytes: int, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._app, self._max_bytes = app, max_bytes
        self._held, self._max_held_bytes = 0, max(max_bytes, max_held_bytes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == UPLOADS:
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        expected = int(said) if said.isdecimal() else 0
        read, is_refused = 0, False

        async def limited() -> Any:
            nonlocal read, is_refused
            is_refused = expected > self._max_bytes
            if not is_refused:
                message = await receive()
                size = len(message.get("body", b""))
                read += size
                self._held += size
                is_refused = read > self._max_bytes
            if is_refused:
                raise self._too_large()
            if self._held > self._max_held_bytes:
                raise _refusal(503, "this process reads as much as it can hold; ask again")
            return message

        async def lingering(message: Any) -> None:
            """A connection that is closed while its client still writes is reset, and the reason is lost."""
            if is_refused and message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await _discard(receive)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._app(scope, limited, lingering)
        finally:
            self._held -= read

    def _too_large(self) -> HTTPException:
        return _refusal(413, f"the body has more than {self._max_bytes} bytes, which is the limit")


async def _discard(receive: Any) -> None:
    """What the client still sends, for a while."""
    discarded = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while discarded < _LINGER_BYTES and (message := await receive()).get("more_body"):
                discarded += len(message["body"])


def _refusal(status: int, detail: str) -> HTTPException:
    """What is left of the body must not be taken for the next request on this connection."""
    return HTTPException(status, detail, headers={"connection": "close"})

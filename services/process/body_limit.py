"""A limit on the size of a request's body."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

MAX_BODY_BYTES = 4 * 2**20


UPLOADS = "/v1/files"
"""Uploads are bounded by their own route, which passes them on without keeping them."""


class BodyLimit:
    """Answers 413 to a body of more than `max_bytes`: by its Content-Length before any of it is read, else as soon as more came.

    Not FastAPI's own `max_body_size`: the version that vLLM pins does not know it, and would ignore it silently.
    """

    def __init__(self, app: Any, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == UPLOADS:
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        expected = int(said) if said.isdecimal() else 0
        read = 0

        async def limited() -> Any:
            nonlocal read
            if expected > self._max_bytes:
                raise self._refusal()
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise self._refusal()
            return message

        await self._app(scope, limited, send)

    def _refusal(self) -> HTTPException:
        """What is left of the body must not be taken for the next request on this connection."""
        return HTTPException(
            413, f"the body has more than {self._max_bytes} bytes, which is the limit", headers={"connection": "close"}
        )

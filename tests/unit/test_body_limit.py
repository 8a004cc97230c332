"""How many bytes of bodies are held at once."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.exceptions import HTTPException

from services.shared.process.body_limit import BodyLimit


class Requests:
    """Requests to an application that reads bodies, each of which runs until `end`."""

    def __init__(self, max_bytes: int, max_held_bytes: int) -> None:
        self._limit = BodyLimit(self._read, max_bytes, max_held_bytes)
        self._next: Any = None

    async def send(self, body: bytes, *, then: Any = None) -> None:
        """While it runs, `then` does."""
        self._next = then
        scope = {"type": "http", "path": "/v1/chat/completions", "headers": []}

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._limit(scope, receive, None)

    async def _read(self, scope: Any, receive: Any, send: Any) -> None:
        then, self._next = self._next, None
        await receive()
        if then is not None:
            await then


async def test_bodies_of_running_requests_are_counted_together() -> None:
    requests = Requests(100, 150)
    await requests.send(b"x" * 100, then=requests.send(b"x" * 50))
    with pytest.raises(HTTPException) as refused:
        await requests.send(b"x" * 100, then=requests.send(b"x" * 51))
    assert (refused.value.status_code, refused.value.headers) == (503, {"connection": "close"})


async def test_a_request_that_ended_holds_nothing() -> None:
    requests = Requests(100, 150)
    for _ in range(3):
        await requests.send(b"x" * 100)
        with pytest.raises(HTTPException):
            await requests.send(b"x" * 101)
    await requests.send(b"x" * 100, then=requests.send(b"x" * 50))


async def test_one_body_of_the_allowed_size_is_always_held() -> None:
    await Requests(200, 150).send(b"x" * 200)

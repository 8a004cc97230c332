"""The end of this process while requests run: what outlasts the drain is told so, in the form that its client reads."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from fastapi.responses import JSONResponse

from services.http_gateway import errors
from tandem.errors import RequestError

LAST_WORDS_SECONDS = 5
"""From the end of the drain until the server cuts what is left."""
_RETRY_SECONDS = 1.0


class ServerEnds(RequestError):
    def __init__(self) -> None:
        super().__init__(
            grpc.StatusCode.UNAVAILABLE,
            "this server ends before the request does: ask again, and another answers; with the same Idempotency-Key nothing is "
            "paid twice",
            reason="SERVER_ENDS",
            retry_after_s=_RETRY_SECONDS,
        )


class Ending:
    """`waiting` are the tasks whose results would come too late. A reply that has begun is ended by what writes it."""

    def __init__(self) -> None:
        self.is_here = False
        self.waiting: set[asyncio.Future[Any]] = set()

    def begin(self) -> None:
        self.is_here = True
        for task in self.waiting:
            task.cancel()


class EndingGuard:
    """Answers 503 to a request whose reply has not begun at the ending. uvicorn would cancel it a moment later, and answer 500."""

    def __init__(self, app: Any, ending: Ending) -> None:
        self._app, self._ending = app, ending

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        task, waiting = asyncio.current_task(), self._ending.waiting
        assert task is not None

        async def begun(message: Any) -> None:
            waiting.discard(task)
            await send(message)

        waiting.add(task)
        try:
            await self._app(scope, receive, begun)
        except asyncio.CancelledError:
            if not self._ending.is_here or task not in waiting:
                raise
            task.uncancel()
            error = errors.from_gateway(ServerEnds())
            headers = {**error.headers, "connection": "close"}
            await JSONResponse(error.body, error.status, headers)(scope, receive, send)
        finally:
            waiting.discard(task)

"""The end of this process while requests run: what outlasts the drain is told so, in the form that its client reads."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.responses import JSONResponse

from services.http_gateway.errors import HttpError

LAST_WORDS_SECONDS = 5
"""From the end of the drain until the server cuts what is left."""


SAID = HttpError(
    503,
    "this server ends before the request does: ask again, and another answers; with the same Idempotency-Key nothing is paid twice",
    code="server_ends",
    retry_after_s=1.0,
    closes=True,
)


class ServerEnds(Exception):
    """In the place of what a stream waits for. SAID is what its client reads."""


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
            await JSONResponse(SAID.body, SAID.status, SAID.headers)(scope, receive, send)
        finally:
            waiting.discard(task)

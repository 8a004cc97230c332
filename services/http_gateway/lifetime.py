"""Whether this process takes requests, and its end while requests run: those that outlast the drain get SERVER_ENDS."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi.responses import JSONResponse

from services.http_gateway.errors import HttpError
from tandem.client.clients import AsyncClient
from tandem.errors import RequestError

CLOSE_SECONDS = 5
"""From the end of the drain until the server cuts what is left."""


SERVER_ENDS = HttpError(
    503,
    "this server ends before the request does: ask again, and another answers; with the same Idempotency-Key nothing "
    "is paid twice",
    code="server_ends",
    retry_after_s=1.0,
    closes=True,
)
_KNOWN_SECONDS = 1.0
_OPEN = (
    "the gateway asks nobody who they are, and others reach this process: give the gateway TANDEM_API_KEYS or "
    "TANDEM_OIDC_ISSUER, or say TANDEM_ALLOW_ANONYMOUS=true here as well"
)


class ServerEnds(Exception):
    """Raised in place of what a stream waits for; its client gets SERVER_ENDS."""


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
    """Answers 503 to a request whose reply has not begun at the ending. uvicorn would cancel it a moment later, and
    answer 500.
    """

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
            await JSONResponse(SERVER_ENDS.body, SERVER_ENDS.status, SERVER_ENDS.headers)(scope, receive, send)
        finally:
            waiting.discard(task)


class Readiness:
    """Asks the gateway at most once a second, however often it is asked itself.

    Unless `may_be_open`, a gateway that asks nobody who they are must not be reached through this process.
    """

    def __init__(self, client: AsyncClient, *, may_be_open: bool) -> None:
        self._client, self._may_be_open = client.for_caller(""), may_be_open
        self._lock = asyncio.Lock()
        self._asked_at = 0.0
        self._reason = "the gateway has not been asked yet"
        self.is_draining = False

    async def reason_against(self) -> str:
        """Empty when all is well."""
        if self.is_draining:
            return "this process is about to end"
        async with self._lock:
            if time.monotonic() - self._asked_at > _KNOWN_SECONDS:
                self._reason = await self._ask()
                self._asked_at = time.monotonic()
        return self._reason

    async def _ask(self) -> str:
        try:
            await self._client.profiles()
        except RequestError as error:
            if error.code.name in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                return ""
            return f"the gateway does not answer: {error}"
        return "" if self._may_be_open else _OPEN

"""Whether requests can be served now: the gateway answers, and this process does not drain."""

from __future__ import annotations

import asyncio
import time

from tandem.client import AsyncClient
from tandem.errors import RequestError

_KNOWN_SECONDS = 1.0


class Readiness:
    """Asks the gateway at most once a second, however often it is asked itself."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
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
            return f"the gateway does not answer: {error}"
        return ""

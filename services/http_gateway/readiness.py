"""Whether requests can be served now: the gateway answers, and this process does not drain."""

from __future__ import annotations

import asyncio
import time

from tandem.client import AsyncClient
from tandem.errors import RequestError

_KNOWN_SECONDS = 1.0
_OPEN = (
    "the gateway asks nobody who they are, and others reach this process: give the gateway TANDEM_API_KEYS or "
    "TANDEM_OIDC_ISSUER, or say TANDEM_ALLOW_ANONYMOUS=true here as well"
)


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

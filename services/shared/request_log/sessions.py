"""What the requests of a session have cost, in Redis: each ended request once, whatever was retried."""

from __future__ import annotations

from datetime import timedelta

from services.shared.request_log.connection import Connection, translated_errors

_KEPT = timedelta(days=30)
"""After a session's last request."""


class Sessions:
    """Every call raises Unavailable when Redis does not answer. A session belongs to its tenant."""

    def __init__(self, connection: Connection) -> None:
        self._redis = connection.redis

    async def add(self, tenant: str, session: str, request_id: str, nano_usd: int) -> None:
        """The bill of a request that has ended. The first one of a request is final: again, this does nothing."""
        key = _key(tenant, session)
        with translated_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.zadd(key, {request_id: nano_usd}, nx=True).pexpire(key, _KEPT).execute()

    async def spent(self, tenant: str, session: str) -> float:
        """USD of all the session's requests that have ended."""
        with translated_errors():
            bills = await self._redis.zrangebyscore(_key(tenant, session), "-inf", "+inf", withscores=True)
        return sum(int(nano_usd) for _, nano_usd in bills) / 1e9


def _key(tenant: str, session: str) -> str:
    return f"{{tenant:{tenant}}}:session:{session}"

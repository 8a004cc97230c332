"""Who reads a request: leases, so that a request without readers can be cancelled."""

from __future__ import annotations

from datetime import timedelta

from services.request_log.connection import Connection, key, translated_errors


class Watchers:
    """Also the workers of one version know of each other by these leases; `name` is then the version's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def renew(self, name: str, watcher: str, now: float, lease: timedelta) -> None:
        """`watcher` reads this request until `now` + `lease`, Unix seconds."""
        leases = key(name, "watchers")
        with translated_errors():
            async with self._connection.redis.pipeline(transaction=False) as pipe:
                pipe.zadd(leases, {watcher: now + lease.total_seconds()}).pexpire(leases, self._connection.ttl_ms)
                await pipe.execute()

    async def remove(self, name: str, watcher: str) -> None:
        with translated_errors():
            await self._connection.redis.zrem(key(name, "watchers"), watcher)

    async def exist(self, name: str, now: float) -> bool:
        with translated_errors():
            return bool(await self._connection.redis.zcount(key(name, "watchers"), now, "+inf"))

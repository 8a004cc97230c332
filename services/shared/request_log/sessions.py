"""What the requests of a session have cost, in Redis: each ended request once, whatever was retried."""

from __future__ import annotations

from datetime import timedelta

from services.shared.request_log.connection import Connection, translated_errors

_KEPT = timedelta(days=30)
"""After a session's last request."""

# A bill and what it adds to the total are written at once, by commands that gateway and worker may call.
_ADD = """
if redis.call("ZADD", KEYS[1], "NX", ARGV[2], ARGV[1]) == 1 then
  redis.call("HINCRBY", KEYS[2], "nano_usd", ARGV[2])
  redis.call("HINCRBY", KEYS[2], "bills", 1)
end
for _, key in ipairs(KEYS) do redis.call("PEXPIRE", key, ARGV[3]) end
"""


class Sessions:
    """Every call raises Unavailable when Redis does not answer. A session belongs to its tenant."""

    def __init__(self, connection: Connection) -> None:
        self._redis, self._add = connection.redis, connection.redis.register_script(_ADD)

    async def add(self, tenant: str, session: str, request_id: str, nano_usd: int) -> None:
        """The bill of a request that has ended. The first one of a request is final: again, this does nothing."""
        kept = int(_KEPT.total_seconds() * 1000)
        with translated_errors():
            await self._add(keys=_keys(tenant, session), args=[request_id, nano_usd, kept])

    async def spent(self, tenant: str, session: str) -> float:
        """USD of all the session's requests that have ended. A total that lacks bills, which a worker of a version
        before it has written, is not used.
        """
        bills, total = _keys(tenant, session)
        with translated_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zcount(bills, "-inf", "+inf").hmget(total, "bills", "nano_usd")
                count, (added, nano_usd) = await pipe.execute()
            if int(added or 0) == count:
                return int(nano_usd or 0) / 1e9
            each = await self._redis.zrangebyscore(bills, "-inf", "+inf", withscores=True)
        return sum(int(of_request) for _, of_request in each) / 1e9


def _keys(tenant: str, session: str) -> tuple[str, str]:
    """Of the bills and of their total; a session's name has no slash."""
    bills = f"{{tenant:{tenant}}}:session:{session}"
    return bills, f"{bills}/total"

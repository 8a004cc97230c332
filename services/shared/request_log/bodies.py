"""Callers' own bodies: written once, before a workflow starts, and read by the process that passes one on."""

from __future__ import annotations

from services.shared.request_log.connection import BODIES, Connection, key, translated_errors
from services.shared.request_log.sealed_text import SealedText
from tandem.method.errors import Unavailable


class Bodies:
    """Under their digests: a request that is given an id in use does not change what the first one said."""

    def __init__(self, connection: Connection, sealed: SealedText) -> None:
        self._connection, self._sealed = connection, sealed

    async def keep(self, request_id: str, digest: str, body: str) -> None:
        name, fields = key(request_id, BODIES), self._sealed.kept(request_id, f"{BODIES}:{digest}", body)
        with translated_errors():
            async with self._connection.pipeline(request_id) as pipe:
                pipe.hset(name, mapping={f"{digest}:{field}": value for field, value in fields.items()})
                pipe.pexpire(name, self._connection.ttl_ms)
                await pipe.execute()

    async def read(self, request_id: str, digest: str) -> str:
        """Raises Unavailable where the log has lost it: no other text says the same."""
        with translated_errors():
            payload, sealed_with = await self._connection.redis.hmget(
                key(request_id, BODIES), [f"{digest}:payload", f"{digest}:key"]
            )
        if payload is None:
            raise Unavailable("the request log lost the caller's own body", reason="REQUEST_LOG_LOST")
        fields = {"payload": payload, **({"key": sealed_with} if sealed_with else {})}
        return self._sealed.opened(request_id, BODIES, digest, fields)["payload"]

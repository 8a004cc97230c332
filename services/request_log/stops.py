"""The stop: a flag that refuses every later append, and a message that reaches the writer's process at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.request_log.connection import Connection, Role, key, translated_errors

_CHANNEL = "tandem:stops"


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Stop the role's attempt `epoch` of a request, or an older one. `decided_at` is Unix time in seconds."""

    request_id: str
    role: Role
    epoch: int
    decided_at: float


class StopFlags:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, stop: StopSignal) -> None:
        state = key(stop.request_id, "state")
        fields = {f"{stop.role}:stop_epoch": stop.epoch, f"{stop.role}:stop_at": repr(stop.decided_at)}
        message = json.dumps([stop.request_id, str(stop.role), stop.epoch, stop.decided_at])
        with translated_errors():
            async with self._connection.redis.pipeline(transaction=True) as pipe:
                pipe.hset(state, mapping=fields).pexpire(state, self._connection.ttl_ms).publish(_CHANNEL, message)
                await pipe.execute()

    async def subscribe(self) -> AsyncIterator[StopSignal]:
        """Stops of all requests as they are published. At most once: only the flag cannot be missed."""
        async with self._connection.blocking.pubsub() as pubsub:
            with translated_errors():
                await pubsub.subscribe(_CHANNEL)
            while True:
                with translated_errors():
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
                if message:
                    request_id, role, epoch, decided_at = json.loads(message["data"])
                    yield StopSignal(request_id, Role(role), epoch, decided_at)

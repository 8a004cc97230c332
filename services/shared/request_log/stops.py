"""The stop: a flag that refuses every later append, and a message that reaches the writer's process at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass
from datetime import timedelta

from services.shared.request_log.connection import Connection, Role, key, translated_errors

_BLOCK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class StopSignal:
    """Stop the role's attempt `epoch` of a request, or an older one. `decided_at` is Unix time in seconds."""

    request_id: str
    role: Role
    epoch: int
    decided_at: float


class StopFlags:
    """Each request has a stream of its own for its stops, beside its other keys: only the processes that write it hear
    them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(self, stop: StopSignal) -> None:
        state, stops = key(stop.request_id, "state"), key(stop.request_id, "stops")
        fields = {f"{stop.role}:stop_epoch": stop.epoch, f"{stop.role}:stop_at": repr(stop.decided_at)}
        with translated_errors():
            async with self._connection.pipeline(stop.request_id) as pipe:
                pipe.hset(state, mapping=fields).xadd(stops, {"stop": json.dumps(astuple(stop))})
                pipe.pexpire(state, self._connection.ttl_ms).pexpire(stops, self._connection.ttl_ms)
                await pipe.execute()

    async def follow(self, request_id: str, block: timedelta = _BLOCK) -> AsyncIterator[list[StopSignal]]:
        """The request's stops, those from before included, as they are published; none when none came within `block`.

        Raises Unavailable.
        """
        name, cursor = key(request_id, "stops"), "0-0"
        while True:
            entries = (await self._connection.read_new({name: cursor}, block)).get(name, [])
            cursor = entries[-1][0] if entries else cursor
            yield [_parse(fields) for _, fields in entries]


def _parse(fields: dict[str, str]) -> StopSignal:
    request_id, role, epoch, decided_at = json.loads(fields["stop"])
    return StopSignal(request_id, Role(role), epoch, decided_at)

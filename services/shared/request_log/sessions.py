"""What the requests of a session have cost, in Redis: each ended request once, whatever was retried; and what its
running turns may still cost. One script, sessions.lua.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from services.shared.request_log.connection import Connection, translated_errors

_KEPT = timedelta(days=30)
"""After a session's last request."""


@dataclass(frozen=True, slots=True)
class TurnHold:
    """The most that a running turn may cost. `due_at`: when somebody looks what became of it."""

    request_id: str
    nano_usd: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Reserved:
    """OK: the turn's bound is held; HELD: it was before, or the turn has ended. SPENT: the ended turns have cost all;
    BUSY: the running ones hold the rest. `nano_usd` is what the ended ones have cost.
    """

    outcome: Literal["OK", "HELD", "SPENT", "BUSY"]
    nano_usd: int


class Sessions:
    """Every call raises Unavailable when Redis does not answer. A session belongs to its tenant."""

    def __init__(self, connection: Connection) -> None:
        self._redis, self._script = connection.redis, connection.script("sessions.lua")

    async def add(self, tenant: str, session: str, request_id: str, nano_usd: int) -> None:
        """The bill of a request that has ended, in its hold's place. The first one of a request is final: again, this
        does nothing.
        """
        await self._run(tenant, session, "add", request_id, nano_usd)

    async def reserve(self, tenant: str, session: str, hold: TurnHold, most_nano_usd: int) -> Reserved:
        """Hold a turn's upper bound, where the session has cost less than it may, and the bounds of all turns that run
        fit the rest. A turn that runs alone need not fit.
        """
        arguments = (hold.request_id, hold.nano_usd, most_nano_usd, _ms(hold.due_at))
        outcome, nano_usd = await self._run(tenant, session, "reserve", *arguments)
        return Reserved(outcome, int(nano_usd))

    async def release(self, tenant: str, session: str, request_id: str) -> None:
        """Give the hold of a turn back that never began."""
        with translated_errors():
            await self._redis.hdel(_keys(tenant, session)[2], request_id)

    async def defer(self, tenant: str, session: str, hold: TurnHold) -> None:
        """Look what became of a turn when the hold says."""
        with translated_errors():
            await self._redis.hset(_keys(tenant, session)[2], hold.request_id, f"{hold.nano_usd} {_ms(hold.due_at)}")

    async def due(self, tenant: str, session: str, now: datetime) -> list[TurnHold]:
        """Holds whose turn has not ended by the time that somebody looks."""
        with translated_errors():
            found = await self._redis.hgetall(_keys(tenant, session)[2])
        rows = ((request_id, *map(int, value.split())) for request_id, value in found.items())
        holds = (TurnHold(each, usd, datetime.fromtimestamp(due / 1000, now.tzinfo)) for each, usd, due in rows)
        return [hold for hold in holds if hold.due_at <= now]

    async def spent(self, tenant: str, session: str) -> float:
        """USD of all the session's requests that have ended."""
        return int(await self._run(tenant, session, "spent")) / 1e9

    async def _run(self, tenant: str, session: str, command: str, request_id: str = "", *arguments: Any) -> Any:
        kept = int(_KEPT.total_seconds() * 1000)
        with translated_errors():
            return await self._script(keys=_keys(tenant, session), args=[command, request_id, kept, *arguments])


def _keys(tenant: str, session: str) -> tuple[str, str, str]:
    """Of the bills, of their total and of the holds; a session's name has no slash."""
    bills = f"{{tenant:{tenant}}}:session:{session}"
    return bills, f"{bills}/total", f"{bills}/holds"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

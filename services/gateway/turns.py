"""Whose request begins next: tenants take turns before Temporal, where a request that waits costs an entry.

Once it has begun, a request costs each process between gateway and models some processor time, and each of them works
for all requests at once: the last of 120 that begin together delays every step of all others. Temporal's queues cannot
mend that, since hardly anything waits in them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_AFTER_SIGN_SECONDS = 0.2
"""How long a request keeps its turn after its first event, unless it ends before: from then on it waits for models
mostly.
"""
_ABSENT_SECONDS = 5.0
"""A tenant that had its last turn so long ago has no share kept for it."""

Sign = Callable[[], Coroutine[Any, Any, None]]
"""Waits until a request shows a sign of its work, or has ended."""


async def _at_once() -> None:
    pass


class Turn:
    """Of one request; without `give_back` of one that needs none."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back
        self._ending: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[None] | None = None

    def end_after(self, sign: Sign) -> None:
        """Its caller has gone; the request goes on, or is cancelled, which is work as well."""
        if self._ending is None and self._give_back is not None:
            self._waiting = asyncio.create_task(sign())
            self._waiting.add_done_callback(lambda _: self.end_soon())

    def end_soon(self) -> None:
        """There is a sign of its work."""
        if self._ending is None and self._give_back is not None:
            self._ending = asyncio.get_running_loop().call_later(_AFTER_SIGN_SECONDS, self.end)

    def end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()


class Turns:
    """At most `most` turns at once, divided among the tenants that are here; each may always have one."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._taken: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._last_seen: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, tenant: str, *, waits: bool = True, sign: Sign = _at_once) -> AsyncIterator[Turn]:
        """Waits until it is the tenant's turn; its requests come in the order in which they asked. Without `waits` it
        needs none.

        `sign`: of the request's work, where its caller does not wait for it.
        """
        if not waits:
            yield Turn()
            return
        self._last_seen[tenant] = self._clock()
        if self._waiting[tenant] or not self._may_take(tenant):
            await self._wait(tenant)
        else:
            self._taken[tenant] += 1
        turn = Turn(lambda: self._give_back(tenant))
        try:
            yield turn
        except (asyncio.CancelledError, GeneratorExit):
            turn.end_after(sign)
            raise
        except BaseException:
            turn.end()
            raise
        turn.end()

    async def _wait(self, tenant: str) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[tenant].append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # it had its turn by then
                self._give_back(tenant)
            raise

    def _give_back(self, tenant: str) -> None:
        self._taken[tenant] -= 1
        self._taken += Counter()  # forgets who has none
        self._last_seen[tenant] = self._clock()
        while (following := self._following()) is not None:
            self._taken[following] += 1
            self._waiting[following].popleft().set_result(None)

    def _following(self) -> str | None:
        """Of the tenants that wait and may begin one, the tenant with the fewest turns."""
        for tenant in list(self._waiting):
            waiting = self._waiting[tenant]
            while waiting and waiting[0].done():  # its caller has gone
                waiting.popleft()
            if not waiting:
                del self._waiting[tenant]
        able = [tenant for tenant in self._waiting if self._may_take(tenant)]
        return min(able, key=lambda tenant: self._taken[tenant], default=None)

    def _may_take(self, tenant: str) -> bool:
        taken = self._taken[tenant]
        return not taken or (taken < self._share() and self._taken.total() < self._most)

    def _share(self) -> int:
        oldest = self._clock() - _ABSENT_SECONDS
        self._last_seen = {
            tenant: seen
            for tenant, seen in self._last_seen.items()
            if seen > oldest or self._taken[tenant] or self._waiting.get(tenant)
        }
        return self._most // max(1, len(self._last_seen))

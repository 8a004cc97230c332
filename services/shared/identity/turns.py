"""Whose call is served next: tenants take turns before Temporal, where a request that waits costs an entry.

Once a request has begun, it costs each process between gateway and models some processor time, and each of them works
for all requests at once: the last of 120 that begin together delays every step of all others. Temporal's queues cannot
mend that, since hardly anything waits in them.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from itertools import islice
from typing import Any, Protocol, TypeVar

from services.shared.identity.caller import current_caller
from tandem.method.errors import LimitReached

_AFTER_SIGN_SECONDS = 0.2
"""How long a request keeps its turn after its first event, unless it ends before: from then on it waits for models
mostly.
"""
_ABSENT_SECONDS = 5.0
"""A tenant that had its last turn so long ago has no share kept for it."""
CALLS_PER_MINUTE = 1200
"""Look-ups of one tenant at one gateway: with two cores for all processes, a tenant that uses all of them takes about a
fifth of the time of one.
"""
_BURST_SECONDS, _MOST_AHEAD_SECONDS = 5.0, 5.0
_MOST_HELD_SECONDS, _SPREAD = 30.0, 0.5
_BYTES_OF_A_CALL = 16 * 1024
"""Of a body that is refused: receiving so much costs about as much as answering a look-up."""

Sign = Callable[[], Coroutine[Any, Any, None]]
"""Waits until a request shows a sign of its work, or has ended."""


async def _at_once() -> None:
    pass


class Turn:
    """A turn of one request; without `give_back` of one that needs none."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back
        self._ending: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[None] | None = None

    def end_after(self, sign: Sign) -> None:
        """End the turn after its caller has gone; the request goes on, or is cancelled, which is work as well."""
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
    """Divide at most `most` turns among the tenants that are here; each may always have one."""

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
        """Return, of the tenants that wait and may begin a turn, the one with the fewest turns."""
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


class Pace:
    """CALLS_PER_MINUTE for each tenant, of which those of _BURST_SECONDS may come at once: a call that comes too early
    waits, so that a program that asks one call after another is slowed down and not refused.
    """

    def __init__(
        self,
        per_minute: int = CALLS_PER_MINUTE,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._per_minute, self._interval, self._clock, self._jitter = per_minute, 60 / per_minute, clock, jitter
        self._next: dict[str, float] = {}  # when the tenant's next call is due, by a pace without bursts
        self._held: dict[str, float] = {}  # until when the refusals of its large bodies are held

    async def keep(self, tenant: str) -> None:
        """Raises LimitReached where calls wait for _MOST_AHEAD_SECONDS already."""
        await asyncio.sleep(self._reserved(tenant))

    async def slow_down(self, tenant: str, num_bytes: int) -> None:
        """Wait before the refusal of a call of so many bytes is sent, at most _MOST_HELD_SECONDS: a caller that sends
        large bodies which are refused costs no more than its pace, and others never wait. Those of a flood are
        answered at moments that differ, so that they do not come again together.
        """
        now = self._clock()
        due = max(self._held.get(tenant, -math.inf), now - _BURST_SECONDS)
        due = min(due + self._interval * (num_bytes // _BYTES_OF_A_CALL), now + _MOST_HELD_SECONDS)
        self._held = {name: until for name, until in self._held.items() if until > now} | {tenant: due}
        await asyncio.sleep(max(0.0, due - now) * (1 - _SPREAD * self._jitter()))

    def _reserved(self, tenant: str) -> float:
        """Seconds until the call may be served."""
        now = self._clock()
        earliest = now - _BURST_SECONDS
        due = max(self._next.pop(tenant, earliest), earliest)
        for idle in list(islice(self._next, 2)):  # those that called least recently
            if self._next[idle] < earliest:
                del self._next[idle]
        ahead = due - now
        if ahead > _MOST_AHEAD_SECONDS:
            self._next[tenant] = due
            raise LimitReached(
                f"tenant {tenant!r} looks up more than {self._per_minute} times a minute at this gateway",
                reason="RATE_LIMIT_EXCEEDED",
                tenant=tenant,
                limit="calls_per_minute",
                most=str(self._per_minute),
                left="0",
                retry_after_s=ahead,
            )
        self._next[tenant] = due + self._interval
        return max(0.0, ahead)


class LookUps:
    """Calls that are answered from what there is: they take turns of their own, so that they wait for no request that
    begins, nor such a one for them. With tenants (`keeps_pace`) each keeps to its pace.
    """

    def __init__(self, most: int, *, keeps_pace: bool) -> None:
        self._turns, self._pace = Turns(most), Pace() if keeps_pace else None

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Raises LimitReached."""
        if self._pace:
            await self._pace.keep(tenant)
        async with self._turns.turn(tenant):
            yield

    async def slow_down(self, tenant: str, num_bytes: int) -> None:
        """Wait before a body of so many bytes is refused."""
        if self._pace and num_bytes >= _BYTES_OF_A_CALL:
            await self._pace.slow_down(tenant, num_bytes)


class _HasLookUps(Protocol):
    look_ups: LookUps


_Method = TypeVar("_Method", bound=Callable[..., Coroutine[Any, Any, Any]])


def takes_turn(method: _Method) -> _Method:
    """Return a unary method of a service that has `look_ups`, in a turn of its caller's tenant."""

    @wraps(method)
    async def in_turn(service: _HasLookUps, request: Any, context: Any) -> Any:
        async with service.look_ups.turn(current_caller().tenant):
            return await method(service, request, context)

    return in_turn  # type: ignore[return-value]  # the same signature

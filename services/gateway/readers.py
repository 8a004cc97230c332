"""The clients that read requests through this gateway: how many, and what happens when the last one of a request is
gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from opentelemetry import trace

from services.gateway.event_stream import EventStream, Position, PositionedEvent
from services.gateway.temporal import AdmittedRequest, Workflows
from services.shared.observability.metrics import STREAMS
from services.shared.observability.spans import describe_result, set_attributes
from services.shared.request_log.log import RequestLog
from tandem.method.errors import ResourceExhausted, TandemError
from tandem.method.request.result import SolveResult

_LEASE = timedelta(seconds=5)
_ASK_AGAIN_SECONDS = 0.25
_RETRY_AFTER_SECONDS = 2.0
_ROOM_SECONDS = 2.0  # until a stream that is ended has given its place back


@dataclass(frozen=True, slots=True)
class Limits:
    """`disconnect_grace`: how long a request without readers goes on before it is cancelled. `max_starting`: see
    `Turns`.
    """

    max_requests: int
    disconnect_grace: timedelta
    max_starting: int = 4


class Readers:
    """`end_slowest` ends the stream that has waited for its client for longest, where there is one: its place is free
    soon.
    """

    def __init__(
        self, workflows: Workflows, log: RequestLog, limits: Limits, end_slowest: Callable[[], bool] = lambda: False
    ) -> None:
        self.workflows, self.log, self._limits, self._end_slowest = workflows, log, limits, end_slowest
        self._place_is_free = asyncio.Event()
        self._places: Counter[str] = Counter()  # taken, by tenant
        self._here: Counter[str] = Counter()  # readers of each request through this gateway
        self._is_draining = False
        self._pending: set[asyncio.Task[None]] = set()
        self._unread: dict[str, asyncio.Task[None]] = {}

    def drain(self) -> None:
        """End streams from now on because this gateway drains: their requests go on and clients resume elsewhere."""
        self._is_draining = True

    async def make_room(self) -> None:
        """Take a place from a client that does not read, where all places are taken: it may resume."""
        if self._places.total() < self._limits.max_requests or not self._end_slowest():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_SECONDS):
                while self._places.total() >= self._limits.max_requests:
                    self._place_is_free.clear()
                    await self._place_is_free.wait()

    @contextmanager
    def admitted(self, tenant: str = "", *, shares: bool = False) -> Iterator[Reader]:
        """One more reader. Raises ResourceExhausted at the limit, which requests that go on without a reader count
        towards.

        `shares`: a tenant has at most as many places as are free, so that none takes them all (the dynamic threshold of
        Choudhury and Hahne, 1998): one has half of the places at most, two a third each.
        """
        taken, of_tenant = self._places.total(), self._places[tenant]
        num_free = self._limits.max_requests - taken
        if num_free <= 0:
            raise _no_place(f"{taken} requests are being served, which is the limit")
        if shares and of_tenant >= num_free:
            raise _no_place(
                f"{of_tenant} requests of the tenant are being served; the places that are left are for others"
            )
        self._take(tenant)
        STREAMS.inc()
        try:
            yield Reader(self, tenant)
        finally:
            self._give_back(tenant)
            STREAMS.dec()

    def _take(self, tenant: str) -> None:
        self._places[tenant] += 1

    def _give_back(self, tenant: str) -> None:
        self._places[tenant] -= 1
        self._places += Counter()  # forgets who has none
        self._place_is_free.set()

    def cancel_unless_watched(self, request_id: str, watcher: str) -> None:
        """Cancel a request that has no readers left, after the disconnect grace."""
        if not self._is_draining:
            pending = asyncio.create_task(self._cancel_unless_watched(request_id, watcher))
            self._pending.add(pending)
            pending.add_done_callback(self._pending.discard)

    def keep_slot(self, request_id: str, tenant: str) -> None:
        """A request that goes on without its reader keeps its place until it ends."""
        if self._is_draining or request_id in self._unread:
            return

        def over(_: object) -> None:
            del self._unread[request_id]
            self._give_back(tenant)

        self._take(tenant)
        unread = self._unread[request_id] = asyncio.create_task(self._until_over(request_id))
        unread.add_done_callback(over)

    async def sign_of_work(self, request_id: str) -> None:
        """Returns when the request shows one, or has ended, or never began."""
        with suppress(TandemError):
            stream = EventStream(self.log, request_id, (), Position())
            async with aclosing(stream.events(self.workflows.result(request_id), _no_lease)) as events:
                await anext(events)

    async def _until_over(self, request_id: str) -> None:
        with suppress(TandemError):
            await self.workflows.result(request_id)

    async def _cancel_unless_watched(self, request_id: str, watcher: str) -> None:
        with suppress(TandemError):
            await self.log.watchers.remove(request_id, watcher)
        await asyncio.sleep(self._limits.disconnect_grace.total_seconds())
        if not await self._is_watched(request_id):
            with suppress(TandemError):
                await self.workflows.cancel_abandoned(request_id)

    async def _is_watched(self, request_id: str) -> bool:
        """Tell whether a reader here watches it, else, as Redis has it, one elsewhere; where Redis does not answer
        for as long as a lease, nobody does.
        """
        give_up = time.monotonic() + _LEASE.total_seconds()
        while not self._here[request_id]:
            try:
                return await self.log.watchers.exist(request_id, time.time())
            except TandemError:
                if time.monotonic() > give_up:
                    return False
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        return True

    @contextmanager
    def reading(self, request_id: str) -> Iterator[None]:
        self._here[request_id] += 1
        try:
            yield
        finally:
            self._here[request_id] -= 1
            self._here += Counter()  # forgets who has none


async def _no_lease() -> None:
    pass


def _no_place(message: str) -> ResourceExhausted:
    return ResourceExhausted(message, reason="TOO_MANY_REQUESTS", retry_after_s=_RETRY_AFTER_SECONDS)


class Reader:
    """One client's stream."""

    def __init__(self, readers: Readers, tenant: str) -> None:
        self._readers, self._tenant, self._watcher = readers, tenant, uuid4().hex
        self._renewed_at = 0.0
        self._is_over = self._keeps_running = False

    async def read(self, request: AdmittedRequest, position: Position) -> AsyncGenerator[PositionedEvent, None]:
        """Events of the request; its totals go on the current span."""
        self._keeps_running = request.keep_running
        stream = EventStream(self._readers.log, request.request_id, request.stages, position)

        async def renew_lease() -> None:
            await self._renew_lease(request.request_id)

        with self._readers.reading(request.request_id):
            await renew_lease()
            workflows = self._readers.workflows
            result = workflows.result(request.request_id, workflows.workers.watch(request.request_id, request.profile))
            async with aclosing(stream.events(result, renew_lease)) as events:
                async for event in events:
                    if isinstance(event.event, SolveResult):
                        self._is_over = True
                        describe_result(trace.get_current_span(), event.event)
                        set_attributes(trace.get_current_span(), {"tandem.tenant.id": request.tenant or None})
                    yield event

    def leave(self, request_id: str, *, keep_running: bool) -> None:
        """The client is gone; `keep_running` is its own wish, beside that of whoever made the request."""
        if self._is_over:
            return
        if keep_running or self._keeps_running:
            self._readers.keep_slot(request_id, self._tenant)
        else:
            self._readers.cancel_unless_watched(request_id, self._watcher)

    async def _renew_lease(self, request_id: str) -> None:
        if time.time() - self._renewed_at > _LEASE.total_seconds() / 3:
            self._renewed_at = time.time()
            with suppress(TandemError):  # a log that is full can still be read
                await self._readers.log.watchers.renew(request_id, self._watcher, self._renewed_at, _LEASE)

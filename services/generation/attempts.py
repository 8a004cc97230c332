"""Attempts at a request: what one came to, and which ones run in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from services.request_log.connection import Role
from services.request_log.log import RequestLog
from services.request_log.stops import StopSignal
from tandem.method.errors import Unavailable
from tandem.method.tokens import TokenCounts

logger = logging.getLogger(__name__)
_RESUBSCRIBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """`own` are the attempt's counts, `counts` those of every attempt of the role so far. Times are Unix seconds."""

    reason: str
    own: TokenCounts
    counts: TokenCounts
    first_token_at: float | None
    finished_at: float


class Stoppable(Protocol):
    def stop(self, decided_at: float) -> None: ...


class RunningAttempts:
    """The attempts that run in this process, by request and epoch, so that a stop reaches the right one."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[int, Stoppable]] = {}

    @contextlib.contextmanager
    def track(self, request_id: str, epoch: int, generation: Stoppable) -> Iterator[None]:
        self._running[request_id] = (epoch, generation)
        try:
            yield
        finally:
            if self._running.get(request_id) == (epoch, generation):
                del self._running[request_id]

    def stop(self, stop: StopSignal) -> bool:
        """Stop the attempt that `stop` names, or an older one (epoch 0: any). False: none such runs here."""
        epoch, generation = self._running.get(stop.request_id, (0, None))
        if generation is None or (stop.epoch and epoch > stop.epoch):
            return False
        generation.stop(stop.decided_at)
        return True


async def listen_for_stops(log: RequestLog, role: Role, running: RunningAttempts) -> None:
    """Stop attempts as their stops are published, until cancelled. This is the fastest path; without Redis the gRPC abort remains."""
    while True:
        try:
            async for stop in log.stops.subscribe():
                if stop.role is role:
                    running.stop(stop)
        except Unavailable as error:
            logger.warning("stops cannot be received: %s", error)
            await asyncio.sleep(_RESUBSCRIBE_SECONDS)

"""The attempts at requests that run in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from tandem.method.errors import Unavailable

logger = logging.getLogger(__name__)
_LISTEN_AGAIN_SECONDS = 1.0


class Stoppable(Protocol):
    def stop(self, decided_at: float) -> None: ...


class RunningAttempts:
    """The attempts of one role that run in this process, by request and epoch, so that a stop reaches the right one."""

    def __init__(self, log: RequestLog, role: Role) -> None:
        self._log, self._role = log, role
        self._running: dict[str, tuple[int, Stoppable]] = {}
        self._listening: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def track(self, request_id: str, epoch: int, generation: Stoppable) -> Iterator[None]:
        """Stop the generation as its stop is published. This is the fastest path; without Redis the gRPC abort
        remains.
        """
        tracked = self._running[request_id] = (epoch, generation)
        listening = asyncio.create_task(self._listen(request_id, tracked))
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)
        try:
            yield
        finally:
            if self._running.get(request_id) == tracked:
                del self._running[request_id]

    def stop(self, stop: StopSignal) -> bool:
        """Stop the attempt that `stop` names, or an older one (epoch 0: any). False: none such runs here."""
        epoch, generation = self._running.get(stop.request_id, (0, None))
        if generation is None or (stop.epoch and epoch > stop.epoch):
            return False
        generation.stop(stop.decided_at)
        return True

    async def _listen(self, request_id: str, tracked: tuple[int, Stoppable]) -> None:
        """Not cancelled when the attempt ends: that would cost its connection. Its read ends within a second."""
        while self._running.get(request_id) == tracked:
            try:
                async for stops in self._log.stops.follow(request_id):
                    if self._running.get(request_id) != tracked:
                        return
                    for stop in stops:
                        if stop.role is self._role:
                            self.stop(stop)
            except Unavailable as error:
                logger.warning("stops of %s cannot be received: %s", request_id, error)
                await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

"""The fastest cancel lane: stops announced in Redis reach the process that writes."""

from __future__ import annotations

import asyncio
import logging

from services.request_log.generation import RunningAttempts
from services.request_log.log import RequestLog, Role
from tandem.method.errors import Unavailable

logger = logging.getLogger(__name__)
_RESUBSCRIBE_SECONDS = 1.0


async def listen_for_stops(log: RequestLog, role: Role, running: RunningAttempts) -> None:
    """Halt attempts as their stops are announced, for ever. Without Redis the other lanes still stop them."""
    while True:
        try:
            async for stop in log.stops():
                if stop.role is role:
                    running.stop(stop)
        except Unavailable as error:
            logger.warning("stops are not heard: %s", error)
            await asyncio.sleep(_RESUBSCRIBE_SECONDS)

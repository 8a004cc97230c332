"""Requests whose gateway died, and whose client did not come back: the gateway that starts next cancels them."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta

from services.gateway.temporal import Workflows
from services.request_log.log import RequestLog
from tandem.method.errors import TandemError

logger = logging.getLogger(__name__)
_RETURN = timedelta(seconds=15)  # how long clients try to come back to a gateway
_LEASE = timedelta(seconds=5)  # a reader renews its own within


async def cancel_orphans(
    workflows: Workflows, log: RequestLog, started_at: datetime, wait: timedelta = _RETURN, again: timedelta = _LEASE
) -> None:
    """After `wait`, cancel the running requests from before `started_at` that nobody reads, seen twice with the pause `again`
    between, and that are not to go on alone.

    Where Redis or Temporal does not answer, nobody knows who reads, and the requests go on.
    """
    await asyncio.sleep(wait.total_seconds())
    try:
        unread = await _unread(log, await workflows.running_since_before(started_at))
        await asyncio.sleep(again.total_seconds() if unread else 0)
        for request_id in await _unread(log, unread):
            logger.info("nobody reads request %s any more", request_id)
            await workflows.cancel_abandoned(request_id)
    except TandemError as error:
        logger.warning("requests without a reader were not looked for: %s", error)


async def _unread(log: RequestLog, request_ids: list[str]) -> list[str]:
    return [i for i in request_ids if not await log.watchers.exist(i, time.time())]

"""Heartbeats, and what an activity does when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

from tandem.method.timeouts import Timeouts


@asynccontextmanager
async def heartbeating(details: Callable[[], Sequence[Any]] = tuple) -> AsyncIterator[None]:
    """Heartbeat while the block runs: the slowest way of a cancel, and how a dead worker is noticed.

    The first one costs a call to Temporal, so it waits for its interval, unless there are `details` that must not be lost.
    """

    async def beat() -> None:
        if first := details():
            activity.heartbeat(*first)
        while True:
            await asyncio.sleep(Timeouts.heartbeat_interval.total_seconds())
            activity.heartbeat(*details())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


def worker_is_draining() -> bool:
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown


async def run_to_end(call: Awaitable[Any]) -> Any:
    """A call that is paid for runs to its end, also when the activity is cancelled; a draining worker does not wait."""
    response = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(response)
    except asyncio.CancelledError:
        if worker_is_draining():
            raise
        return await response

"""One attempt of an activity: its heartbeats, what it does when it is cancelled, what its failure becomes, and whether
another one follows.

A model that cannot be reached is waited for; retries of a failing one are capped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from services.shared.process.status import error_info, retry_after_seconds
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts

_QUEUE_SECONDS = 1.0  # what a full queue of ours says: the policy's own intervals are as good
_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ABORTED,
}
UNAVAILABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""The service cannot be reached, or its queue is full."""
_MAX_FAILURES = 6  # attempts that a service began or refused
_MAX_INTERVAL = timedelta(seconds=4)


@asynccontextmanager
async def heartbeating(details: Callable[[], Sequence[Any]] = tuple) -> AsyncIterator[None]:
    """Heartbeat while the block runs: the slowest way of a cancel, and how a dead worker is noticed.

    The first one costs a call to Temporal, so it waits for its interval, unless there are `details` that must not be
    lost.
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


def counts_in(error: grpc.aio.AioRpcError) -> TokenCounts:
    """The counts that a service puts into the status of work that it could not log."""
    metadata = error_info(error).metadata
    return TokenCounts(prompt=int(metadata.get("input_tokens", 0)), discarded=int(metadata.get("discarded_tokens", 0)))


def application_error(error: grpc.aio.AioRpcError, detail: object, is_last: bool = False) -> ApplicationError:
    """What an attempt failed with; `is_last`: there must be no other. The next one comes when the service says, where
    it does; a caller is not held for longer than `Timeouts.longest_pause` at once and `longest_pauses` in all, and told
    instead.
    """
    wait = retry_after_seconds(error)
    is_long = wait is not None and wait > _QUEUE_SECONDS and not _may_pause(timedelta(seconds=wait))
    return ApplicationError(
        error.details() or error.code().name,
        detail,
        type=error_info(error).reason or error.code().name,
        non_retryable=is_last or is_long or error.code() in _FINAL,
        next_retry_delay=timedelta(seconds=wait) if wait and wait > _QUEUE_SECONDS else None,
    )


def _may_pause(wait: timedelta) -> bool:
    held = datetime.now(UTC) - activity.info().scheduled_time if activity.in_activity() else timedelta()
    return wait <= Timeouts.longest_pause and held + wait <= Timeouts.longest_pauses


def unavailable_retry_policy(unavailable_timeout_seconds: float) -> RetryPolicy:
    """Without the small model there is no answer, and a large one at zero pods starts on demand: intervals of 0.25 s,
    doubled up to 4 s, for at least the time-out.
    """
    return RetryPolicy(
        initial_interval=Timeouts.retry_interval,
        backoff_coefficient=2.0,
        maximum_interval=_MAX_INTERVAL,
        maximum_attempts=_attempts(unavailable_timeout_seconds),
    )


def is_last_attempt(attempt: int, code: grpc.StatusCode, began: bool) -> bool:
    """Whether the failure of attempt number `attempt` (from 1) ends the retries, however long the service may be waited
    for.

    Work that had begun is paid for and lost with its process, so a request that crashes its process is attempted at
    most six times.
    """
    return attempt >= _MAX_FAILURES and (began or code not in UNAVAILABLE)


def _attempts(seconds: float) -> int:
    attempts, waited, pause = 1, timedelta(), Timeouts.retry_interval
    while waited < timedelta(seconds=seconds):
        attempts, waited, pause = attempts + 1, waited + pause, min(2 * pause, _MAX_INTERVAL)
    return attempts

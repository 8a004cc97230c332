"""One attempt of an activity: its heartbeats, what it does when it is cancelled, what its failure becomes, and whether
another one follows.

A model that cannot be reached is waited for; retries of a failing one are capped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from services.shared.process.status import error_info, retry_after_seconds
from tandem.method.errors import VENDOR_STATUS, vendor_in
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts

logger = logging.getLogger(__name__)
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
_LOST, _MAX_LOST = "API_UNAVAILABLE", 4  # without a status: a connection that was not made, or that broke
_MAX_REFUSALS = 2
_LIMITED, _MAY_PASS = 429, (408, 409)  # statuses below 500 that may be another one at once
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


def application_error(
    error: grpc.aio.AioRpcError, detail: object, is_last: bool = False, *, is_unattended: bool = False
) -> ApplicationError:
    """What an attempt failed with, with `detail` and what a model's API has said; `is_last`: there must be no other.
    The next one comes when the service says, where it does.

    A caller waits for one more attempt at an API that has refused or failed, within `Timeouts.longest_pause`, and is
    told instead where that cannot help. `is_unattended`: no caller waits.
    """
    info, wait = error_info(error), retry_after_seconds(error)
    said = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE and not info.reason:
        logger.warning("a model's process does not answer: %s", said)  # with its address, which is no caller's
        said = "its process does not answer"
    vendor = vendor_in(info.metadata)
    pause = timedelta(seconds=wait) if wait and (vendor or wait > _QUEUE_SECONDS) else None
    if is_unattended:
        is_over = pause is not None and not _may_pause(pause)
    else:
        is_over = _is_for_the_caller(info.reason, vendor, pause)
    return ApplicationError(
        said,
        detail,
        vendor,
        type=info.reason or error.code().name,
        non_retryable=is_last or is_over or error.code() in _FINAL,
        next_retry_delay=pause,
    )


def _may_pause(wait: timedelta) -> bool:
    held = datetime.now(UTC) - activity.info().scheduled_time if activity.in_activity() else timedelta()
    is_short = wait <= Timeouts.longest_unattended_pause
    return is_short and held + wait <= Timeouts.longest_unattended_pauses


def _is_for_the_caller(reason: str, vendor: Mapping[str, str], pause: timedelta | None) -> bool:
    """Whether a caller is told rather than held."""
    attempt = activity.info().attempt if activity.in_activity() else 1
    if pause is not None and pause > Timeouts.longest_pause:
        return True
    if not vendor:
        return reason == _LOST and attempt >= _MAX_LOST
    status = int(vendor[VENDOR_STATUS])
    may_pass = status >= 500 or status in _MAY_PASS or (status == _LIMITED and pause is not None)
    return attempt >= _MAX_REFUSALS or not may_pass


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

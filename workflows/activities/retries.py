"""Retries of a model: one that cannot be reached is waited for, retries of a failing one are capped."""

from __future__ import annotations

from datetime import timedelta

import grpc
from temporalio.common import RetryPolicy

from tandem.method.timeouts import Timeouts

UNAVAILABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""The service cannot be reached, or its queue is full."""
_MAX_FAILURES = 6  # attempts that a service began or refused
_MAX_INTERVAL = timedelta(seconds=4)


def unavailable_retry_policy(unavailable_timeout_seconds: float) -> RetryPolicy:
    """Without the small model there is no answer, and a large one at zero pods starts on demand: intervals of 0.25 s, doubled up to 4 s, for at least the time-out."""
    return RetryPolicy(
        initial_interval=Timeouts.retry_interval,
        backoff_coefficient=2.0,
        maximum_interval=_MAX_INTERVAL,
        maximum_attempts=_attempts(unavailable_timeout_seconds),
    )


def is_last_attempt(attempt: int, code: grpc.StatusCode, began: bool) -> bool:
    """Whether the failure of attempt number `attempt` (from 1) ends the retries, however long the service may be waited for.

    Work that had begun is paid for and lost with its process, so a request that crashes its process is attempted at most
    six times.
    """
    return attempt >= _MAX_FAILURES and (began or code not in UNAVAILABLE)


def _attempts(seconds: float) -> int:
    attempts, waited, pause = 1, timedelta(), Timeouts.retry_interval
    while waited < timedelta(seconds=seconds):
        attempts, waited, pause = attempts + 1, waited + pause, min(2 * pause, _MAX_INTERVAL)
    return attempts

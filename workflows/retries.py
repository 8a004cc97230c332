"""How often an answer is tried again: a small model that is away is waited for, one that fails is not paid for ever."""

from __future__ import annotations

from datetime import timedelta

import grpc
from temporalio.common import RetryPolicy

from tandem.method.shared import Timeouts

# The service is not there, or has no room.
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_FAILURES = 6  # attempts of an answer that somebody took up, or refused
_LONGEST_PAUSE = timedelta(seconds=4)


def retry_answer(away_seconds: float) -> RetryPolicy:
    """Without the small model there is no answer at all: pauses of 0.25 s, doubled up to 4 s, for at least so long."""
    return RetryPolicy(
        initial_interval=Timeouts.retry_interval,
        backoff_coefficient=2.0,
        maximum_interval=_LONGEST_PAUSE,
        maximum_attempts=_attempts(away_seconds),
    )


def gives_up(attempt: int, code: grpc.StatusCode, began: bool) -> bool:
    """Whether the `attempt`th failure (1 is the first) is the last one, however long the service may be waited for.

    Work that had begun is lost with its process and paid for, so what ends its process each time must not go on for long.
    """
    return attempt >= _FAILURES and (began or code not in _AWAY)


def _attempts(seconds: float) -> int:
    attempts, waited, pause = 1, timedelta(), Timeouts.retry_interval
    while waited < timedelta(seconds=seconds):
        attempts, waited, pause = attempts + 1, waited + pause, min(2 * pause, _LONGEST_PAUSE)
    return attempts

"""How often an answer is tried again: a small model that is away is waited for, one that fails is not paid for ever."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import grpc
from temporalio.common import RetryPolicy

from workflows.shared import Timeouts

# The service is not there, or has no room: nothing was made, so nothing is lost by trying again.
AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_FAILURES = 6  # attempts of an answer whose error is another one
_LONGEST_PAUSE = timedelta(seconds=4)


def retry_answer(away_seconds: float) -> RetryPolicy:
    """Without the small model there is no answer at all: pauses of 0.25 s, doubled up to 4 s, for at least so long."""
    return RetryPolicy(
        initial_interval=Timeouts.heartbeat_interval,
        backoff_coefficient=2.0,
        maximum_interval=_LONGEST_PAUSE,
        maximum_attempts=_attempts(away_seconds),
    )


def gives_up(code: grpc.StatusCode, attempt: int) -> bool:
    """Whether the `attempt`th failure (1 is the first) is the last one, however long the service may be waited for."""
    return code not in AWAY and attempt >= _FAILURES


def _attempts(seconds: float) -> int:
    waited, pause = timedelta(), Timeouts.heartbeat_interval
    for attempt in count(2):
        waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
        if waited >= timedelta(seconds=seconds):
            return attempt
    raise AssertionError("unreachable")

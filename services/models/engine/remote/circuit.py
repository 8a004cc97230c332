"""What stands between the requests and an API in trouble: nobody asks while it has said when to, or while it fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from services.models.engine.api import ApiUnavailable, QueueFull

_FAILURES_TO_OPEN = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
LONGEST_WAIT = 3600.0
"""Seconds. A time beyond it is taken for a mistake, wherever an API says one."""
_JITTER = 0.25


def jittered(seconds: float, jitter: Callable[[], float]) -> float:
    """A little longer, so that those who wait come back at different times. `jitter`: in 0..1."""
    return seconds * (1 + _JITTER * jitter())


def bounded_wait(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_WAIT)


def seconds_until(moment: datetime) -> float:
    """A moment without a zone is in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()


class Circuit:
    """Closed, until an API says how long to wait or has failed five times in a row. Then each request fails at once,
    with the time that is left, and after that one may try: it closes the circuit or doubles the pause.

    Refusals of a request are no failures: the next one may be fine.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock, self._jitter = clock, jitter
        self._failures = 0
        self._opens_at = 0.0
        self._pause = _FIRST_PAUSE
        self._limited = False
        self._is_tried = False

    def enter(self) -> None:
        """Before a request. Raises QueueFull and ApiUnavailable, with the time that is left in `retry_after_s`."""
        left = self._opens_at - self._clock()
        if left > 0 or self._is_tried:
            again = jittered(max(left, _FIRST_PAUSE), self._jitter)
            if self._limited:
                raise QueueFull(f"the API has asked for a pause of its limits: {left:.0f} s are left", again)
            raise ApiUnavailable(
                f"the API has failed {self._failures} times in a row; it is tried again in {left:.0f} s", again
            )
        self._is_tried = self._failures >= _FAILURES_TO_OPEN

    def succeeded(self) -> None:
        """The API has answered, with whatever."""
        self._failures, self._pause, self._limited, self._is_tried = 0, _FIRST_PAUSE, False, False

    def failed(self) -> None:
        """The API did not answer, or with an error of its own."""
        self._failures += 1
        self._is_tried = False
        if self._failures >= _FAILURES_TO_OPEN:
            self._limited, self._opens_at = False, self._clock() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def limited(self, seconds: float | None) -> float:
        """The API accepts no more for so many seconds, where it says. Returns when to come back, with jitter."""
        self._is_tried = False
        wait = bounded_wait(_FIRST_PAUSE if seconds is None else seconds)
        if seconds is not None:
            self._limited, self._opens_at = True, max(self._opens_at, self._clock() + wait)
        return jittered(wait, self._jitter)

    def left(self) -> None:
        """A request was aborted before the API had answered: nothing is known of it."""
        self._is_tried = False

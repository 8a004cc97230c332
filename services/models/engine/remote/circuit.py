"""What stands between the requests and an API in trouble: nobody asks while it has said when to, or while it fails."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from services.models.engine.api import ApiUnavailable, QueueFull

_FAILURES_TO_OPEN = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_LATER = 0.5  # of a pause: longer than the jitter, which those who may try before have waited
_MOST_CALLERS = 1024  # whose failures are remembered
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


@dataclass(slots=True)
class _Breaker:
    """Open from five failures in a row: no request passes for a pause, then one tries, which closes it or doubles the
    pause.
    """

    failures: int = 0
    tried_from: float = 0.0  # of the clock
    pause: float = _FIRST_PAUSE
    tried_by: Passage | None = None

    @property
    def is_open(self) -> bool:
        return self.failures >= _FAILURES_TO_OPEN

    def fail(self, passage: Passage, failures: int, now: float) -> None:
        """What was let through before it opened says nothing new of it."""
        opens = not self.is_open or self.tried_by is passage
        self.failures = failures
        if not self.is_open:
            self.pause = _FIRST_PAUSE
        elif opens:
            self.tried_from, self.pause = now + self.pause, min(2 * self.pause, _LONGEST_PAUSE)

    def left(self, now: float, later: float = 0.0) -> float | None:
        """Seconds until a request may try, for one that is to leave the first try to others that share of the pause
        `later`; None: it passes.
        """
        left = self.tried_from + later * self.pause - now
        return max(left, _FIRST_PAUSE) if self.is_open and (left > 0 or self.tried_by) else None


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A request of a caller that was let through."""

    caller: str


class Circuit:
    """What follows a caller's request counts for that caller, whose requests alone are paused after five failures in a
    row. All are paused where five connections fail, or the requests of five callers, with no success between; then a
    caller whose requests did not fail is the first to try. Each is paused as `_Breaker` says, and all for as long as an
    API asks.

    A caller is a tenant, or "" where tenants are not told apart. Refusals of a request are no failures: the next one
    may be fine.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock, self._jitter = clock, jitter
        self._limited_until = 0.0
        self._unreached = 0  # connections in a row that failed
        self._failing: set[str] = set()  # callers of `_own` that have failed since the last success of any
        self._all, self._own = _Breaker(), OrderedDict[str, _Breaker]()

    def enter(self, caller: str) -> Passage:
        """Before a request. Raises QueueFull and ApiUnavailable, with the time that is left in `retry_after_s`."""
        now, own = self._clock(), self._own.get(caller, _Breaker())
        if (left := self._limited_until - now) > 0:
            raise QueueFull(
                f"the API has asked for a pause of its limits: {left:.0f} s are left",
                jittered(max(left, _FIRST_PAUSE), self._jitter),
                vendor_status=429,
            )
        later = _LATER if caller in self._failing else 0.0
        for breaker, whose, wait in ((self._all, "", later), (own, " with this caller's requests", 0.0)):
            if (left_here := breaker.left(now, wait)) is not None:
                raise ApiUnavailable(
                    f"the API has failed {breaker.failures} times in a row{whose}; "
                    f"it is tried again in {left_here:.0f} s",
                    jittered(left_here, self._jitter),
                )
        passage = Passage(caller)
        for breaker in (self._all, own):
            if breaker.is_open:
                breaker.tried_by = passage
        return passage

    def succeeded(self, passage: Passage) -> None:
        """The API has answered, with whatever."""
        self._unreached, self._all = 0, _Breaker()
        self._failing.clear()
        self._own.pop(passage.caller, None)

    def failed(self, passage: Passage, *, was_reached: bool) -> None:
        """The API did not answer, or with an error of its own. `was_reached`: there was a connection to send the
        request on.
        """
        now, caller = self._clock(), passage.caller
        if was_reached:
            self._unreached = 0
            own = self._own.setdefault(caller, _Breaker())
            own.fail(passage, own.failures + 1, now)
            self._failing.add(caller)
            self._own.move_to_end(caller)
            if len(self._own) > _MOST_CALLERS:
                self._failing.discard(self._own.popitem(last=False)[0])
        else:
            self._unreached += 1
        self._all.fail(passage, self._unreached + len(self._failing), now)
        self.left(passage)

    def limited(self, seconds: float | None) -> float:
        """The API accepts no more for so many seconds, where it says. Returns when to come back, with jitter."""
        wait = bounded_wait(_FIRST_PAUSE if seconds is None else seconds)
        if seconds is not None:
            self._limited_until = max(self._limited_until, self._clock() + wait)
        return jittered(wait, self._jitter)

    def left(self, passage: Passage) -> None:
        """The request is over, whatever is known of the API: another one may try in its place."""
        for breaker in (self._all, self._own.get(passage.caller)):
            if breaker and breaker.tried_by is passage:
                breaker.tried_by = None

"""The limits of an API, kept before it has to refuse: its requests and tokens per minute, from its replies or from the
profile.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from services.models.engine.api import QueueFull
from services.models.engine.remote.circuit import LONGEST_WAIT, bounded_wait, jittered, seconds_until
from tandem.method.profile.endpoint import Limits

_LONGEST_WAIT = 10.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# As OpenAI (and those of its protocol) and Anthropic call them: limit, what is left of it, and when it is whole again.
_HEADERS = (
    ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
    ("anthropic-ratelimit-{}-limit", "anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset"),
)


@dataclass
class Bucket:
    """At most `most` at once, refilled by `per_second`. Below 0 it owes what waiting requests have reserved. `most` of
    0: no limit is known.
    """

    most: float = 0.0
    per_second: float = 0.0
    level: float = 0.0
    seen: float = 0.0

    @staticmethod
    def per_minute(amount: float, now: float) -> Bucket:
        return Bucket(amount, amount / 60, amount, now)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until it holds so much. More than it ever holds is taken when it is full."""
        if not self.most or not self.per_second:
            return 0.0
        self.level = min(self.most, self.level + (now - self.seen) * self.per_second)
        self.seen = now
        return max(0.0, (min(amount, self.most) - self.level) / self.per_second)

    def take(self, amount: float) -> None:
        self.level -= min(amount, self.most)

    def give_back(self, amount: float, used: float = 0.0) -> None:
        """Of an `amount` that was taken, all but what was `used`."""
        self.level = min(self.most, self.level + min(amount, self.most) - used)

    def correct(self, most: float, left: float, whole_in: float, now: float) -> None:
        """By what the API says. What is reserved here it may not have seen, so that its figure never raises the level.
        Whatever it says, the bucket is full again within an hour.
        """
        self.wait(0, now)
        self.level = min(self.level, left) if self.most else left
        self.most, self.seen = most, now
        if whole_in > 0 and most > left:
            self.per_second = (most - left) / whole_in
        self.per_second = max(self.per_second or most / 60, (most - self.level) / LONGEST_WAIT)


class RateLimits:
    """Who would wait for longer than ten seconds is told when to come back, and has sent nothing."""

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._jitter = clock, jitter
        self._requests = Bucket.per_minute(limits.requests_per_minute, clock())
        self._tokens = Bucket.per_minute(limits.tokens_per_minute, clock())
        self._are_given = {"requests": limits.requests_per_minute > 0, "tokens": limits.tokens_per_minute > 0}

    def reserve(self, tokens: int) -> float:
        """Seconds after which a request of at most so many tokens, prompt and answer, may be sent. Raises QueueFull."""
        now = self._clock()
        wait = max(self._requests.wait(1, now), self._tokens.wait(tokens, now))
        if wait:
            wait = jittered(wait, self._jitter)
        if wait > _LONGEST_WAIT:
            raise QueueFull(f"the API's limit per minute is reached: {wait:.0f} s are left", wait, vendor_status=429)
        self._requests.take(1)
        self._tokens.take(tokens)
        return wait

    def end(self, tokens: int, used: int) -> None:
        """Of a request that had reserved so many tokens, and has read and written those that it `used`."""
        self._tokens.give_back(tokens, used)

    def give_back(self, tokens: int) -> None:
        """Of a request that was not sent."""
        self._requests.give_back(1)
        self._tokens.give_back(tokens)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Of a reply. A limit that the profile gives is smaller on purpose, and stays."""
        now = self._clock()
        for kind, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if not self._are_given[kind] and (told := _told(headers, kind)):
                bucket.correct(*told, now)


def _told(headers: Mapping[str, str], kind: str) -> tuple[float, float, float] | None:
    for names in _HEADERS:
        limit, left, reset = (headers.get(name.format(kind), "") for name in names)
        try:
            if limit and left:
                most, now = float(limit), float(left)
                return (most, now, bounded_wait(_seconds(reset))) if 0 <= now <= most and isfinite(most) else None
        except (ValueError, OverflowError):
            continue
    return None


def _seconds(text: str) -> float:
    """Of `1s`, `6m0s`, `20ms`, a bare number, or a point in time (RFC 3339). 0: not said. Raises ValueError."""
    if not text:
        return 0.0
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if text.replace(".", "", 1).isdigit():
        return float(text)
    return seconds_until(datetime.fromisoformat(text.replace("Z", "+00:00")))

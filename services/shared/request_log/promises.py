"""What became of requests, by their callers and their shadows, and how strict a tenant's policy is by that, in Redis.

Without a persistent Redis the count begins anew when it loses its memory, and policies are as they were calibrated.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import cast

from services.shared.request_log.connection import Connection, translated_errors
from tandem.method.profile.watched_promise import PAYS_BACK, REVIEW, Watched, ratios

MILLION = 1_000_000
_REMEMBERED = timedelta(days=400)
"""How long it is known that a request's outcome was reported: longer than Temporal keeps a request."""


class Counting(StrEnum):
    """What became of an outcome. `noted`: it is another word on one that has counted, a label, or counts for no policy.
    `old`: of a policy that has become stricter since; `stricter`: by this one it has.
    """

    COUNTED = "counted"
    STRICTER = "stricter"
    OLD = "old"
    NOTED = "noted"
    SAME = "same"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PolicyOf:
    """A tenant's policy: of one profile, kind of task and promise (empty: it makes none)."""

    tenant: str
    profile: str
    kind: str
    made: str = ""

    def key(self, name: str) -> str:
        return f"{{tenant:{self.tenant}}}:{name}:{self.profile}/{self.kind}/{self.made or 'none'}"


@dataclass(frozen=True, slots=True)
class Counted:
    """Of the present step; `lost` is the sum of losses."""

    step: int = 0
    outcomes: int = 0
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """The policy became stricter, to `step`, after so many outcomes of the step before and so much lost."""

    step: int
    outcomes: int
    lost: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome that a calibration may use. `score`: of the stage that was answered from; None: it had none."""

    loss: float
    who: str
    step: int
    strength: int
    score: float | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """`what` the caller said; empty: a shadow. `loss` is None where nobody can tell. `is_label`: it is kept for a
    calibration, and does not count.
    """

    request_id: str
    who: str
    loss: float | None
    what: str = ""
    score: float | None = None
    is_label: bool = False


class Promises:
    """Every call raises Unavailable when Redis does not answer."""

    def __init__(self, connection: Connection) -> None:
        self._redis, self._script = connection.redis, connection.script("promises.lua")

    async def count(
        self, policy: PolicyOf, watched: Watched | None, report: Report, now: datetime
    ) -> tuple[Counting, Counted]:
        """Count an outcome, once. `watched` is what the request was served by; None: by a policy of the caller's
        own.
        """
        made = watched if watched and watched.made else None
        loss = -1 if report.loss is None else round(report.loss * MILLION)
        terms = (made.steps, made.lose_at_most, made.limit) if made else (0, 1.0, 0.0)
        keep = (watched.keep_days, watched.strength) if watched else (0, 0)
        alternatives = ratios(loss / MILLION, made.lose_at_most) if made and loss >= 0 else []
        keys = [_outcome(policy.tenant, report.request_id), *(policy.key(n) for n in ("policy", "changes", "kept"))]
        arguments = (
            _ms(now),
            report.who,
            report.what,
            loss,
            watched.step if watched else -1,
            *terms,
            REVIEW,
            PAYS_BACK,
            int(_REMEMBERED.total_seconds() * 1000),
            *keep,
            "" if report.score is None else report.score,
            int(report.is_label),
            *alternatives,
        )
        with translated_errors():
            word, *found = await self._script(keys=keys, args=[*arguments])
        return Counting(word.lower()), _counted(*found)

    async def step(self, policy: PolicyOf) -> int:
        """How many steps stricter than calibrated the policy is."""
        with translated_errors():
            return int(await cast("Awaitable[str | None]", self._redis.hget(policy.key("policy"), "step")) or 0)

    async def standing(self, policy: PolicyOf) -> tuple[Counted, list[Change]]:
        """Of the present step, and how it came to that."""
        with translated_errors():
            names = ["step", "outcomes", "lost"]
            found = await cast("Awaitable[list[str | None]]", self._redis.hmget(policy.key("policy"), names))
            rows = await cast("Awaitable[list[str]]", self._redis.lrange(policy.key("changes"), 0, -1))
        changes = [tuple(map(int, row.split())) for row in rows]
        return _counted(*(value or 0 for value in found)), [
            Change(step, outcomes, lost / MILLION, _moment(at)) for step, outcomes, lost, at in changes
        ]

    async def kept(self, policy: PolicyOf, since: datetime) -> list[Kept]:
        """The outcomes since then that a calibration may use, in order."""
        with translated_errors():
            rows = await self._redis.zrangebyscore(policy.key("kept"), _ms(since), "+inf", withscores=True)
        return [_kept(row, int(at)) for row, at in rows]

    async def forget(self, tenant: str, request_id: str) -> None:
        """That the request had an outcome; what it counted stays, which names no request."""
        with translated_errors():
            await self._redis.delete(_outcome(tenant, request_id))


def _outcome(tenant: str, request_id: str) -> str:
    return f"{{tenant:{tenant}}}:outcome:{request_id}"


def _counted(step: str | int, outcomes: str | int, lost: str | int) -> Counted:
    return Counted(int(step), int(outcomes), int(lost) / MILLION)


def _kept(row: str, at: int) -> Kept:
    _, loss, who, step, strength, score = row.split(" ")
    return Kept(int(loss) / MILLION, who, int(step), int(strength), float(score) if score else None, _moment(at))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)

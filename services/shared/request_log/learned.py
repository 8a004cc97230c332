"""What a tenant's requests have taught a promise, in Redis: counts and latches alone. One script, learned.lua.

Where Redis loses its memory nothing is shown any more, and the large model answers alone.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from services.shared.request_log.connection import Connection, translated_errors
from tandem.method.promise.alarms import BLOCK, Block, Cusum
from tandem.method.promise.rule import ArmCounts, KindCounts
from tandem.method.promise.standing import REFINES, Standing
from tandem.method.request.learning import Seen

NANO = 1_000_000_000
_REMEMBERED = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One kind of requests of a tenant and profile, answered by these models (`digest`)."""

    tenant: str
    profile: str
    kind: str
    digest: str

    def keys(self, request_id: str = "") -> list[str]:
        """State, what is known of a request, kinds, changes, what was seen."""
        tag = f"{{tenant:{self.tenant}}}"
        return [
            f"{tag}:learned:{self.profile}/{self.kind}/{self.digest}",
            f"{tag}:learned-of:{request_id}",
            f"{tag}:learned-kinds:{self.profile}",
            f"{tag}:learned-changes:{self.profile}",
            f"{tag}:learned-seen:{self.profile}/{self.digest}",
        ]


@dataclass(frozen=True, slots=True)
class LearnedChange:
    """`what`: shown, serves, stops (it does not pay), or closed, with the reason; `sampled` requests had been seen."""

    what: str
    kind: str
    arm: str
    why: str
    sampled: int
    at: datetime


class Learned:
    """Every call raises Unavailable when Redis does not answer."""

    def __init__(self, connection: Connection) -> None:
        self._redis, self._script = connection.redis, connection.script("learned.lua")

    async def standing(self, lesson: Lesson, num_arms: int) -> Standing:
        flat, order, others = await self._run(lesson, "standing", 0, lesson.kind, lesson.digest)
        return _standing(dict(zip(flat[::2], flat[1::2], strict=True)), num_arms, int(order), int(others))

    async def reserve(self, lesson: Lesson, *new: str) -> bool:
        """Whether none of these, a session and a question, was sampled before; now they were."""
        return bool(await self._run(lesson, "reserve", 0, *new))

    async def sampled(self, lesson: Lesson, epoch: int, request_id: str, seen: Seen) -> bool:
        """Count a sampled request, once. False where it was counted, or the kind has begun anew since."""
        arms = (amount for arm in seen.arms for amount in (int(arm.taken), int(arm.disputed), round(arm.saved * NANO)))
        amounts = (round(seen.large * NANO), round(seen.beside * NANO), seen.answered, BLOCK)
        return bool(await self._run(lesson, "sampled", epoch, *amounts, *arms, request_id=request_id) == "COUNTED")

    async def label(self, lesson: Lesson, epoch: int, request_id: str, *, is_lost: bool, who: str) -> str:
        """COUNTED, SAME or OTHER where it had a label, OLD where the kind has begun anew, NONE where it is unknown."""
        return str(await self._run(lesson, "label", epoch, int(is_lost), who, request_id=request_id))

    async def served(
        self, lesson: Lesson, epoch: int, arm: int, is_answered: bool, steps: tuple[float, float]
    ) -> Cusum | None:
        """Count a request that the arm was asked. None where the kind has begun anew since."""
        added = (f"{step:.9g}" for step in steps)
        found = await self._run(lesson, "served", epoch, int(is_answered), *added, arm, REFINES)
        return None if found == "OLD" else Cusum(*map(float, found))

    async def show(self, lesson: Lesson, epoch: int, shown: int, *, is_all: bool, change: LearnedChange) -> bool:
        """Whether this call is the one that shows so many arms."""
        whole = f"{lesson.kind} {lesson.digest}" if is_all else ""
        return bool(await self._run(lesson, "show", epoch, shown, whole, _as_json(change)) == 1)

    async def serve(self, lesson: Lesson, epoch: int, arm: int | None, change: LearnedChange) -> bool:
        """Whether this call is the one that lets the arm serve; None: none does any more."""
        name = "" if arm is None else str(arm)
        return bool(await self._run(lesson, "serve", epoch, name, _as_json(change)) == 1)

    async def close(self, lesson: Lesson, epoch: int, change: LearnedChange) -> bool:
        """Forget the kind's counts and begin anew. Whether this call is the one that does."""
        return bool(await self._run(lesson, "close", epoch, lesson.kind, _as_json(change)) == 1)

    async def changes(self, tenant: str, profile: str) -> list[LearnedChange]:
        """What was decided, the oldest first."""
        with translated_errors():
            key = Lesson(tenant, profile, "", "").keys()[3]
            rows = await cast("Awaitable[list[str]]", self._redis.lrange(key, 0, -1))
        return [LearnedChange(**(row | {"at": datetime.fromisoformat(row["at"])})) for row in map(json.loads, rows)]

    async def forget(self, tenant: str, request_id: str) -> None:
        """That the request was sampled; what it counted stays, which names no request."""
        with translated_errors():
            await self._redis.delete(Lesson(tenant, "", "", "").keys(request_id)[1])

    async def _run(self, lesson: Lesson, command: str, epoch: int, *arguments: Any, request_id: str = "") -> Any:
        remembered = int(_REMEMBERED.total_seconds() * 1000)
        with translated_errors():
            return await self._script(keys=lesson.keys(request_id), args=[command, epoch, remembered, *arguments])


def _standing(found: Mapping[str, str], num_arms: int, order: int, others: int) -> Standing:
    epoch = int(found.get("epoch", 0))
    counts = KindCounts(
        arms=tuple(_arm(found, number) for number in range(num_arms)),
        sampled=int(found.get("sampled", 0)),
        large=int(found.get("large", 0)) / NANO,
        beside=int(found.get("beside", 0)) / NANO,
        shown=int(found.get("shown", 0)),
        offs=epoch + order,
        done=others,
    )
    serving = found.get("serving", "")
    return Standing(
        counts,
        epoch,
        int(serving) if serving else None,
        float(found.get("usual", 0)),
        int(found.get("usual_of", 0)),
        int(found.get("served", 0)),
        int(found.get("answered", 0)),
        Cusum(float(found.get("above", 0)), float(found.get("below", 0))),
        tuple(_blocks(found)),
    )


def _arm(found: Mapping[str, str], number: int) -> ArmCounts:
    taken, still_open, lost, saved = (int(found.get(f"{name}{number}", 0)) for name in "tols")
    return ArmCounts(taken, still_open, lost, saved / NANO)


def _blocks(found: Mapping[str, str]) -> Sequence[Block]:
    number = -(-int(found.get("watched", 0)) // BLOCK)
    return [Block(*(int(found.get(f"b{name}{block}", 0)) for name in "sol")) for block in range(number)]


def _as_json(change: LearnedChange) -> str:
    values = {name: getattr(change, name) for name in LearnedChange.__slots__}
    return json.dumps(values | {"at": change.at.isoformat()})

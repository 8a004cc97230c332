"""Texts of disputes, for whoever labels them: sealed where there are keys, and kept for as long as the tenant says.

`{tenant:NAME}:disputes` has the ids, by when they expire; `{tenant:NAME}:dispute:ID` the text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from services.shared.request_log.connection import Connection, translated_errors
from services.shared.request_log.learned import Lesson
from services.shared.request_log.sealed_text import SealedText
from tandem.method.request.beside import Dispute

_STREAM, _ENTRY = "dispute", "0"


@dataclass(frozen=True, slots=True)
class Kept:
    """A dispute that waits for a label, of a kind that had begun anew `epoch` times."""

    request_id: str
    lesson: Lesson
    epoch: int
    dispute: Dispute


class Disputes:
    """Every call raises Unavailable when Redis does not answer."""

    def __init__(self, connection: Connection, sealed: SealedText) -> None:
        self._redis, self._sealed = connection.redis, sealed

    async def keep(self, kept: Kept, now: datetime, days: int) -> None:
        """Where `days` is 0 nothing is kept."""
        if not days:
            return
        tenant, until = kept.lesson.tenant, now + timedelta(days=days)
        payload = json.dumps({**asdict(kept), "lesson": asdict(kept.lesson)}, ensure_ascii=False)
        fields = self._sealed.kept(kept.request_id, f"{_STREAM}:{_ENTRY}", payload)
        with translated_errors():
            # The text first: an id without a text is passed over, a text without an id would stay unread.
            await self._redis.hset(_text(tenant, kept.request_id), mapping=dict(fields))
            await self._redis.pexpire(_text(tenant, kept.request_id), timedelta(days=days))
            await self._redis.zadd(_ids(tenant), {kept.request_id: until.timestamp()})
            await self._redis.pexpire(_ids(tenant), timedelta(days=days))

    async def listed(self, tenant: str, now: datetime) -> Sequence[str]:
        """Ids of those that are kept, the next to expire first."""
        with translated_errors():
            await self._redis.zremrangebyscore(_ids(tenant), "-inf", now.timestamp())
            return [str(each) for each in await self._redis.zrangebyscore(_ids(tenant), "-inf", "+inf")]

    async def read(self, tenant: str, request_id: str) -> Kept | None:
        """None where it is not kept any more. Raises FailedPrecondition where its key is missing."""
        with translated_errors():
            found = await self._redis.hmget(_text(tenant, request_id), ["payload", "key"])
        if found[0] is None:
            return None
        fields = {"payload": found[0], **({"key": found[1]} if found[1] else {})}
        whole = json.loads(self._sealed.opened(request_id, _STREAM, _ENTRY, fields)["payload"])
        return Kept(request_id, Lesson(**whole["lesson"]), whole["epoch"], Dispute(**whole["dispute"]))

    async def forget(self, tenant: str, request_id: str) -> None:
        with translated_errors():
            await self._redis.zrem(_ids(tenant), request_id)
            await self._redis.delete(_text(tenant, request_id))


def _ids(tenant: str) -> str:
    return f"{{tenant:{tenant}}}:disputes"


def _text(tenant: str, request_id: str) -> str:
    return f"{{tenant:{tenant}}}:dispute:{request_id}"

"""The worker's stream of a request: scores, the stop, the result."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import TypeAdapter
from redis.exceptions import ResponseError

from services.shared.request_log.connection import Connection, key, translated_errors
from services.shared.request_log.sealed_text import SealedText
from tandem.method.request.events import Decision

_KINDS: dict[str, type[Decision]] = {each.kind: each for each in get_args(Decision)}
_adapters: dict[type[Decision], TypeAdapter[Any]] = {}
AGREED_SLOT = 1
LLM_STOPPED_SLOT = 1_000_000_000_000
RESULT_SLOT = LLM_STOPPED_SLOT + 1
_SLOTS_PER_STAGE = 100_000
_SLOTS_PER_ANSWER = 100  # a request has at most 16 checks (services/gateway/bounds.py)


def scored_slot(stage: int) -> int:
    """The slots up to the next stage's are for the checks that follow this score."""
    return (stage + 1) * _SLOTS_PER_STAGE


def checked_slot(last_scored: int, number: int) -> int:
    """The first slot of the checks of the request's answer `number` (from 1), after the score of stage `last_scored`
    (-1: none).
    """
    return scored_slot(last_scored) + number * _SLOTS_PER_ANSWER


class Decisions:
    """Every read raises FailedPrecondition where this process lacks the key."""

    def __init__(self, connection: Connection, sealed: SealedText) -> None:
        self._connection, self._sealed = connection, sealed

    async def publish(self, request_id: str, slot: int, decision: Decision) -> Decision | None:
        """Write a slot, which can be written once: a repeated activity publishes nothing twice.

        Returns what the slot held already, which is final; None when this was the first.
        """
        stream = key(request_id, "decisions")
        payload = _adapter(type(decision)).dump_json(decision).decode()
        entry = {"kind": decision.kind, **self._sealed.decision(request_id, slot, payload)}
        with translated_errors():
            async with self._connection.pipeline(request_id) as pipe:
                pipe.xadd(stream, entry, id=f"{slot}-0").pexpire(stream, self._connection.ttl_ms)
                added, _ = await pipe.execute(raise_on_error=False)
                if not isinstance(added, Exception):
                    return None
                if not (isinstance(added, ResponseError) and "equal or smaller" in str(added)):
                    raise added
        return await self.get(request_id, slot)

    async def get(self, request_id: str, slot: int) -> Decision | None:
        """What a slot holds; None while it is empty."""
        for entry_id, fields in await self._entries(request_id, slot):
            return parse_decision(self._sealed.opened(request_id, "decisions", entry_id, fields))
        return None

    async def has(self, request_id: str, slot: int) -> bool:
        """Whether a slot holds anything, which may be unreadable here."""
        return bool(await self._entries(request_id, slot))

    async def _entries(self, request_id: str, slot: int) -> list[tuple[str, dict[str, str]]]:
        with translated_errors():
            found: list[tuple[str, dict[str, str]]] = await self._connection.redis.xrange(
                key(request_id, "decisions"), f"{slot}-0", f"{slot}-0"
            )
        return found


def parse_decision(fields: dict[str, str]) -> Decision:
    """From an entry of the stream."""
    decision: Decision = _adapter(_KINDS[fields["kind"]]).validate_json(fields["payload"])
    return decision


def _adapter(kind: type[Decision]) -> TypeAdapter[Any]:
    """Built at first use: a model process publishes no decision, and a schema takes memory."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]

"""What a client sees of a request: its three streams, merged in the order in which they make sense."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from services.request_log.log import RequestLog, Role
from services.request_log.transcript import parse_entry
from tandem.method.errors import Unavailable

Kind = Literal["insight_delta", "stage_completed", "scored", "llm_stopped", "answer_delta", "restarted", "completed"]
_STREAMS = (str(Role.INSIGHT), str(Role.ANSWER), "decisions")
_BLOCK = timedelta(milliseconds=500)
# Each reading and each message costs gateway and client more than a token does: what is written faster than this is read together.
_PACE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Event:
    """`payload` has the fields of the message that `kind` names in tandem.v1.SolveEvent."""

    cursor: str
    kind: Kind
    payload: Mapping[str, Any]


@dataclass(slots=True)
class Position:
    """How far each stream was read. As text: the three sequence numbers, joined by dots."""

    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STREAMS, 0))

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Raises ValueError for what is no cursor of ours."""
        if not cursor:
            return cls()
        numbers = [int(part) for part in cursor.split(".")]
        return cls(dict(zip(_STREAMS, numbers, strict=True)))

    def advance(self, stream: str, entry_id: str) -> str:
        self.read[stream] = int(entry_id.split("-")[0])
        return str(self)

    def cursors(self) -> dict[str, str]:
        return {stream: f"{number}-0" for stream, number in self.read.items()}

    def __str__(self) -> str:
        return ".".join(str(self.read[stream]) for stream in _STREAMS)


class Conversation:
    """Reads one request from `position` on. `stage_names[k - 1]` names stage k."""

    def __init__(self, log: RequestLog, request_id: str, stage_names: tuple[str, ...], position: Position) -> None:
        self._log, self._request_id, self._stage_names = log, request_id, stage_names
        self._position = position

    async def events(
        self, result: Awaitable[dict[str, Any]], still_there: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Event, None]:
        """Events until `completed`. Without Redis only the result is left, which is Temporal's.

        `still_there` is awaited now and then, to renew the reader's lease. Raises what `result` raises.
        """
        ending = asyncio.ensure_future(result)
        try:
            with suppress(Unavailable):
                async for event in self._until_over(ending, still_there):
                    yield event
                    if event.kind == "completed":
                        return
            yield Event(str(self._position), "completed", await ending)
        finally:
            ending.cancel()

    async def _until_over(
        self, ending: asyncio.Future[dict[str, Any]], still_there: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Event, None]:
        while not ending.done():
            began = time.monotonic()
            for event in await self._news():
                yield event
            await still_there()
            await asyncio.sleep(began + _PACE_SECONDS - time.monotonic())
        for event in await self._news():  # what was written before the end and not read yet
            yield event

    async def _news(self) -> list[Event]:
        news = await self._log.tail(self._request_id, self._position.cursors(), _BLOCK)
        events: list[Event] = []
        for stream in _STREAMS:
            for entry_id, fields in news.get(stream, ()):
                cursor = self._position.advance(stream, entry_id)
                if stream == "decisions":
                    events.append(Event(cursor, fields["kind"], json.loads(fields["payload"])))  # type: ignore[arg-type]
                else:
                    for event in self._written(stream, entry_id, fields, cursor):
                        _add(events, event)
        return events

    def _written(self, stream: str, entry_id: str, fields: Mapping[str, str], cursor: str) -> list[Event]:
        entry = parse_entry(entry_id, fields)
        is_insight = stream == Role.INSIGHT
        if entry.kind == "restart":
            role = "ROLE_LLM" if is_insight else "ROLE_SLM"
            return [Event(cursor, "restarted", {"role": role, "tokens": entry.tokens, "epoch": entry.epoch})]
        events = []
        if entry.kind == "delta":
            kind: Kind = "insight_delta" if is_insight else "answer_delta"
            events.append(Event(cursor, kind, {"text": entry.text, "tokens": entry.tokens}))
        if 0 < entry.stage <= len(self._stage_names):  # beyond them lies the cap of a large model that was to finish
            payload = {"stage": entry.stage, "name": self._stage_names[entry.stage - 1], "tokens": entry.tokens}
            events.append(Event(cursor, "stage_completed", payload))
        return events


def _add(events: list[Event], event: Event) -> None:
    """Text that goes on from the last event's text goes into that event."""
    last = events[-1] if events else None
    if last is None or last.kind != event.kind or not event.kind.endswith("_delta"):
        events.append(event)
        return
    payload = {**event.payload, "text": last.payload["text"] + event.payload["text"]}
    events[-1] = replace(event, payload=payload)

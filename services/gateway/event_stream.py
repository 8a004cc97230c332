"""What a client receives of a request: its three streams in Redis, merged into one stream of events."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any, Literal

from services.shared.request_log.connection import Role
from services.shared.request_log.decisions import parse_decision
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import PAGE
from services.shared.request_log.transcript import parse_entry
from tandem.method.errors import Unavailable
from tandem.method.request.events import AnswerDelta, InsightDelta, Restarted, SolveEvent, StageCompleted
from tandem.method.request.result import SolveResult

logger = logging.getLogger(__name__)
_DECISIONS = "decisions"
_STREAMS = (str(Role.INSIGHT), str(Role.ANSWER), _DECISIONS)
_HAS_TEXT = "+"
_CURSOR = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18}){2}\+?")
_BLOCK, _NO_BLOCK = timedelta(seconds=1), timedelta(milliseconds=1)
# Each read and each message costs gateway and client more than a token does: what is written faster is read together.
_MIN_READ_SECONDS = 0.01
_RETRY_SECONDS = 0.5
_LAST_READS_SECONDS = 2.0
_MODELS: dict[str, Literal["llm", "slm"]] = {Role.INSIGHT: "llm", Role.ANSWER: "slm"}


@dataclass(frozen=True, slots=True)
class PositionedEvent:
    """An event, and the cursor after it."""

    cursor: str
    event: SolveEvent

    @property
    def is_last(self) -> bool:
        return isinstance(self.event, SolveResult)


@dataclass(slots=True)
class Position:
    """How far each stream was read. As text: the three sequence numbers, joined by dots.

    `has_text`, as text a plus at the end: the text of the insight's next entry was sent as well, the stage that it ends
    was not.
    """

    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STREAMS, 0))
    has_text: bool = False

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Raises ValueError for what is not a cursor of ours."""
        if not cursor:
            return cls()
        if not _CURSOR.fullmatch(cursor):
            raise ValueError(cursor)
        numbers = [int(part) for part in cursor.removesuffix(_HAS_TEXT).split(".")]
        return cls(dict(zip(_STREAMS, numbers, strict=True)), cursor.endswith(_HAS_TEXT))

    def advance(self, stream: str, entry_id: str) -> str:
        """Return the cursor after an entry."""
        self.read[stream] = int(entry_id.split("-")[0])
        self.has_text = self.has_text and stream != Role.INSIGHT
        return str(self)

    def advance_to_text(self) -> str:
        """Return the cursor between the text of the insight's next entry and the stage that it ends."""
        self.has_text = True
        return str(self)

    def rewind(self, stream: str) -> str:
        """Return the cursor before a stream's first entry."""
        return self.advance(stream, "0")

    def cursors(self) -> dict[str, str]:
        return {stream: f"{number}-0" for stream, number in self.read.items()}

    def __str__(self) -> str:
        return ".".join(str(self.read[stream]) for stream in _STREAMS) + (_HAS_TEXT if self.has_text else "")


class EventStream:
    """Reads one request from `position` on. `stage_names[k - 1]` names stage k."""

    def __init__(self, log: RequestLog, request_id: str, stage_names: tuple[str, ...], position: Position) -> None:
        self._log, self._request_id, self._stage_names = log, request_id, stage_names
        self._position = position
        self._epochs: dict[str, int] = {}  # of the last entry of each stream that was read

    async def events(
        self, result: Awaitable[SolveResult], renew_lease: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[PositionedEvent, None]:
        """Events until the result. While Redis does not answer only the result is left, which is Temporal's.

        `renew_lease` is awaited regularly. Raises what `result` raises.
        """
        ending = asyncio.ensure_future(result)
        try:
            async for event in self._until_over(ending, renew_lease):
                yield event
                if event.is_last:
                    return
            yield PositionedEvent(str(self._position), await ending)
        finally:
            ending.cancel()

    async def _until_over(
        self, ending: asyncio.Future[SolveResult], renew_lease: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[PositionedEvent, None]:
        while not ending.done():
            began = time.monotonic()
            for event in await self._news_unless(ending):
                yield event
            await renew_lease()
            await asyncio.sleep(began + _MIN_READ_SECONDS - time.monotonic())
        while events := await self._rest():
            for event in events:
                yield event

    async def _news_unless(self, ending: asyncio.Future[SolveResult]) -> list[PositionedEvent]:
        """News as they come. None when the request ends first, and after a pause when Redis does not answer: it may
        again.
        """
        reading = asyncio.ensure_future(self._news(_BLOCK))
        either: set[asyncio.Future[Any]] = {reading, ending}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return (reading.result() or await self._lost()) if reading.done() else await _read_before_cancel(reading)
        except Unavailable:
            await asyncio.wait({ending}, timeout=_RETRY_SECONDS)
            return []
        finally:
            reading.cancel()

    async def _rest(self) -> list[PositionedEvent]:
        """Entries written before the end that were not read yet. A read that fails is tried again, once at least: it
        would cut the text.
        A Redis that is silent holds the result up for two reads' timeouts, and no longer.
        """
        began = time.monotonic()
        for number in count(1):
            try:
                return await self._news(_NO_BLOCK)
            except Unavailable as error:
                if number > 1 and time.monotonic() - began > _LAST_READS_SECONDS:
                    logger.warning("the rest of the text of %s is not sent: %s", self._request_id, error)
                    break
            await asyncio.sleep(_RETRY_SECONDS)
        return []

    async def _lost(self) -> list[PositionedEvent]:
        """Streams that Redis has lost, and that their writers have begun again: they are read from their beginning."""
        events = []
        for stream, (length, epoch) in (await self._log.streams.lengths(self._request_id)).items():
            if 0 < length < self._position.read[stream]:
                events.append(self._read_again(stream, epoch))
        return events

    def _read_again(self, stream: str, epoch: int) -> PositionedEvent:
        cursor = self._position.rewind(stream)
        self._epochs.pop(stream, None)
        return PositionedEvent(cursor, Restarted(_MODELS[stream], 0, epoch))

    def _follows(self, stream: str, fields: Mapping[str, str]) -> bool:
        """False where the entry with which its writer began is missing: Redis lost it with others, which have been
        read.
        """
        epoch = int(fields["epoch"])
        is_known = self._epochs.get(stream, epoch) == epoch or fields["kind"] == "restart"
        self._epochs[stream] = epoch
        return is_known

    async def _news(self, block: timedelta) -> list[PositionedEvent]:
        news = await self._log.streams.tail(self._request_id, self._position.cursors(), block)
        if any(len(entries) == PAGE for entries in news.values()):
            news.pop(_DECISIONS, None)  # there is more text, which comes before the result
        events: list[PositionedEvent] = []
        for stream in _STREAMS:
            for entry_id, fields in news.get(stream, ()):
                if stream != _DECISIONS and not self._follows(stream, fields):
                    events.append(self._read_again(stream, int(fields["epoch"])))
                    break
                if stream == _DECISIONS:
                    cursor = self._position.advance(stream, entry_id)
                    events.append(PositionedEvent(cursor, parse_decision(fields)))
                else:
                    for event in self._written(stream, entry_id, fields):
                        _add(events, event)
        return events

    def _written(self, stream: str, entry_id: str, fields: Mapping[str, str]) -> list[PositionedEvent]:
        """Return each event with a cursor of its own: a reader who is cut between a text and its stage's end gets the
        end later.
        """
        entry = parse_entry(entry_id, fields)
        is_insight = stream == Role.INSIGHT
        # Beyond the stages lies the cap of a large model that was to finish.
        stage = entry.stage if is_insight and entry.stage <= len(self._stage_names) else 0
        events: list[PositionedEvent] = []
        if entry.kind == "delta" and not (is_insight and self._position.has_text):
            known = (entry.text, entry.tokens, entry.said)
            delta = InsightDelta(*known, entry.native) if is_insight else AnswerDelta(*known)
            cursor = self._position.advance_to_text() if stage else self._position.advance(stream, entry_id)
            events.append(PositionedEvent(cursor, delta))
        cursor = self._position.advance(stream, entry_id)
        if entry.kind == "restart":
            events.append(PositionedEvent(cursor, Restarted(_MODELS[stream], entry.tokens, entry.epoch)))
        if stage:
            events.append(PositionedEvent(cursor, StageCompleted(stage, self._stage_names[stage - 1], entry.tokens)))
        return events


async def _read_before_cancel(reading: asyncio.Future[list[PositionedEvent]]) -> list[PositionedEvent]:
    """Return what was read where the client of Redis loses the cancel, as asyncio.wait_for of Python 3.11 may.

    The position has moved past it.
    """
    reading.cancel()
    await asyncio.wait({reading})
    return [] if reading.cancelled() else reading.result()


def _add(events: list[PositionedEvent], new: PositionedEvent) -> None:
    """Text that continues the last event's text is merged into that event."""
    match (events[-1].event if events else None, new.event):
        case (InsightDelta() as last, InsightDelta() as event):
            merged = replace(event, text=last.text + event.text, native=last.native + event.native)
            events[-1] = replace(new, event=merged)
        case (AnswerDelta() as last, AnswerDelta() as event):
            events[-1] = replace(new, event=replace(event, text=last.text + event.text))
        case _:
            events.append(new)

"""What a reader gets of a request's log: the rest after a failed read, and after any event it was cut at."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from services.gateway.event_stream import EventStream, Position, PositionedEvent
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from tandem.method.errors import RequestLogUnavailable
from tandem.method.request.events import InsightDelta, Restarted, StageCompleted
from tandem.method.request.result import SolveResult
from tests.integration.asking import forget

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0), (3, 0), (1, 2.5)])
async def test_a_read_that_fails_after_the_end_does_not_cut_the_text(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, failures: int, seconds: float
) -> None:
    """At once, or after a timeout of Redis's client."""
    log, request_id, left = RequestLog(redis_url, timedelta(minutes=1)), uuid4().hex, failures
    writer = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    await writer.append("the first part, ", [1, 2])
    await writer.append("and the second", [3, 4])
    read = log.streams.tail

    async def tail(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            await asyncio.sleep(seconds)
            raise RequestLogUnavailable("the log does not answer")
        return await read(*arguments)

    monkeypatch.setattr(log.streams, "tail", tail)
    result: asyncio.Future[SolveResult] = asyncio.get_running_loop().create_future()
    end = cast(SolveResult, object())
    result.set_result(end)

    async def renew() -> None: ...

    stream = EventStream(log, request_id, (), Position())
    events = [positioned.event async for positioned in stream.events(result, renew)]
    assert (
        "".join(event.text for event in events if isinstance(event, InsightDelta)) == "the first part, and the second"
    )
    assert events[-1] is end
    await log.close()


async def test_a_read_that_loses_its_cancel_as_the_request_ends_loses_no_text(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for of Python 3.11 may."""
    log, request_id = RequestLog(redis_url, timedelta(minutes=1)), uuid4().hex
    writer = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    await writer.append("all of it", [1, 2, 3])
    read, is_read, result = log.streams.tail, asyncio.Event(), asyncio.get_running_loop().create_future()

    async def tail(*arguments: Any) -> Any:
        news = await read(*arguments)
        if not is_read.is_set():
            is_read.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(600)
        return news

    async def end() -> None:
        await is_read.wait()
        result.set_result(cast(SolveResult, object()))

    async def renew() -> None: ...

    monkeypatch.setattr(log.streams, "tail", tail)
    ending = asyncio.create_task(end())
    stream = EventStream(log, request_id, (), Position())
    assert told([event async for event in stream.events(result, renew)][:-1])[0] == "all of it"
    await ending
    await log.close()


async def read(log: RequestLog, request_id: str, cursor: str = "") -> list[PositionedEvent]:
    """All events of a request that has ended."""
    result: asyncio.Future[SolveResult] = asyncio.get_running_loop().create_future()
    result.set_result(cast(SolveResult, object()))

    async def renew() -> None: ...

    stream = EventStream(log, request_id, ("one", "two"), Position.parse(cursor))
    return [positioned async for positioned in stream.events(result, renew)][:-1]


def told(events: list[PositionedEvent]) -> tuple[str, list[object]]:
    """The insight's text, and all other events."""
    deltas = [each.event for each in events if isinstance(each.event, InsightDelta)]
    return "".join(delta.text for delta in deltas), [e.event for e in events if not isinstance(e.event, InsightDelta)]


async def test_a_reader_that_is_cut_at_any_event_gets_the_rest_once(redis_url: str) -> None:
    """Also between a text and the stage that it ends, which are one entry of the log."""
    log, request_id = RequestLog(redis_url, timedelta(minutes=1)), uuid4().hex
    lost = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    await lost.append("one ends ", [1, 2], stage=1)
    await lost.append("lost", [3])
    writer = await log.streams.begin(request_id, Role.INSIGHT, 2, "stage")
    await writer.append("two ", [4])
    await writer.append("ends", [5], stage=2)
    whole = await read(log, request_id)
    assert told(whole) == (
        "one ends losttwo ends",
        [StageCompleted(1, "one", 2), Restarted("llm", 2, 2), StageCompleted(2, "two", 4)],
    )
    assert len({each.cursor for each in whole}) == len(whole)
    for number, last in enumerate(whole, 1):
        rest = await read(log, request_id, last.cursor)
        text, others = told(whole[:number])
        more, later = told(rest)
        assert (text + more, others + later) == told(whole), last
    await log.close()


async def test_what_a_failover_lost_between_two_reads_is_read_again(redis_url: str) -> None:
    log, request_id = RequestLog(redis_url, timedelta(minutes=1)), uuid4().hex
    writer = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    for letter in "abc":
        await writer.append(letter, [1])
    stream = EventStream(log, request_id, (), Position())
    seen = [event.event for event in await stream._news(timedelta(milliseconds=10))]
    await forget(log, request_id)
    again = await log.streams.begin(request_id, Role.INSIGHT, 2, "stage")
    for letter in "wxyz":
        await again.append(letter, [1])
    for _ in range(2):
        seen += [event.event for event in await stream._news(timedelta(milliseconds=10))]
    assert seen == [InsightDelta("abc", 3), Restarted("llm", 0, 2), InsightDelta("wxyz", 4)]
    await log.close()

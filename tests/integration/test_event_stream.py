"""What a reader gets of a request that has ended while the log could not be read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from services.gateway.event_stream import EventStream, Position
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from tandem.method.errors import Unavailable
from tandem.method.events import InsightDelta, Restarted
from tandem.method.result import SolveResult
from tests.integration.asking import forget

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_read_that_fails_after_the_end_does_not_cut_the_text(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    log, request_id, left = RequestLog(redis_url, timedelta(minutes=1)), uuid4().hex, failures
    writer = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    await writer.append("the first part, ", [1, 2])
    await writer.append("and the second", [3, 4])
    read = log.streams.tail

    async def tail(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise Unavailable("the log does not answer", reason="REQUEST_LOG_UNAVAILABLE")
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

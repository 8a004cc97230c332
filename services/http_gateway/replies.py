"""How a reply is sent, whatever its protocol: whole, or as server-sent events while it is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.http_gateway import errors, sse
from services.http_gateway.errors import HttpError
from services.http_gateway.exchange import Cancelled, Exchange
from services.http_gateway.headers import dropped_header, headers_of_result, session_headers
from services.http_gateway.lifetime import SERVER_ENDS, Ending, ServerEnds
from tandem.client.live_text import TextWasLost
from tandem.errors import RequestError
from tandem.openai.reply import Data, Reply

_FAILURES = (RequestError, TextWasLost, Cancelled, ServerEnds)
T = TypeVar("T")
_HELD_SECONDS = 10.0
"""That a stream may take to begin: a failure before has a status, and proxies close what is silent for longer."""


class EventStream(StreamingResponse):
    """Server-sent events; however they end, so does the exchange."""

    def __init__(self, exchange: Exchange, events: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        headers = {**headers, "cache-control": "no-cache"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._exchange = exchange

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.close()


async def send_stream(
    exchange: Exchange, reply: Reply, headers: dict[str, str], ending: Ending, request: Request
) -> Response:
    """Events, once there is one to send or the client has hung up. Raises RequestError where the request fails before,
    so that the failure has a status and headers of its own.
    """
    events = _events(exchange, reply, ending)
    first = await _unless_left(anext(events), request)
    if first is None:
        exchange.close()
        return Response(status_code=errors.CANCELLED)  # nobody reads it
    return EventStream(exchange, _chained(first, events), headers)


async def send_whole(exchange: Exchange, reply: Reply, headers: dict[str, str], request: Request) -> Response:
    """Wait for the result, or for the client to hang up. Raises RequestError, TextWasLost, Cancelled."""
    try:
        if await _unless_left(_drained(exchange), request) is None:
            return Response(status_code=errors.CANCELLED)  # nobody reads it
    finally:
        exchange.close()
    assert exchange.result is not None
    whole = reply.whole(exchange.result, exchange.reasoning, exchange.native)
    headers |= session_headers(exchange.accepted, exchange.result.cost.usd)
    headers |= dropped_header(exchange.dropped.of(exchange.result))
    return JSONResponse(whole, headers={**headers, **headers_of_result(exchange.result)})


def failure(error: Exception) -> HttpError:
    """Return what ends a reply that has begun."""
    if isinstance(error, RequestError):
        return errors.from_gateway(error)
    if isinstance(error, ServerEnds):
        return SERVER_ENDS
    if isinstance(error, Cancelled):
        return HttpError(errors.CANCELLED, str(error), code="cancelled")
    return HttpError(503, str(error), code="text_was_lost")


async def _events(exchange: Exchange, reply: Reply, ending: Ending) -> AsyncIterator[bytes]:
    """The first one comes with the first text, and after `_HELD_SECONDS` without. Raises RequestError before it."""
    unsent, has_begun, start = _encoded(reply.first()), False, time.monotonic()
    try:
        async for piece in sse.with_pings(exchange.pieces(), ending):
            event = _ping(reply) if piece is None else _encoded(reply.piece(piece)) if piece else b""
            if event or (unsent and time.monotonic() - start > _HELD_SECONDS):
                yield unsent + event
                unsent, has_begun = b"", True
    except _FAILURES as error:
        if not has_begun and isinstance(error, RequestError):
            raise
        yield unsent + _encoded(reply.failure(failure(error)))
        return
    assert exchange.result is not None
    yield unsent + _encoded(reply.last(exchange.result)) + reply.end


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in rest:
        yield event


async def _drained(exchange: Exchange) -> bool:
    async for _ in exchange.pieces():
        pass
    return True


async def _unless_left(work: Awaitable[T], request: Request) -> T | None:
    """Return what `work` returns, and None where the client hangs up first. Raises what `work` raises."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Wait until the client hangs up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _ping(reply: Reply) -> bytes:
    return sse.PING if reply.ping is None else sse.event(reply.ping)


def _encoded(events: list[Data]) -> bytes:
    return b"".join(sse.event(data) for data in events)

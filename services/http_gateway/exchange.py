"""One request to the gateway on behalf of an HTTP client, which may hang up at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from opentelemetry import trace

from tandem.client.clients import AsyncClient
from tandem.client.events import Accepted, Completed, Event
from tandem.client.live_text import LiveText, Piece
from tandem.v1 import tandem_pb2


class Cancelled(Exception):
    """Somebody cancelled the request, so there is no answer."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Places of a body that are not followed: where the large model answers, and where a small one does, which is never
    sent the body itself.
    """

    by_large: Sequence[str] = ()
    by_small: Sequence[str] = ()

    def of(self, result: tandem_pb2.SolveResult) -> Sequence[str]:
        return self.by_large if result.answered_by == tandem_pb2.ROLE_LLM else self.by_small


class Exchange:
    """Follows one request in a task of its own, so that a client that hangs up does not end the cancelling of its
    request.

    `cancels`: closing cancels the request at once; without, the gateway does after its grace, unless somebody else
    reads it.
    `dropped`, which may be set until then, becomes a note of the result.
    """

    def __init__(
        self,
        client: AsyncClient,
        request: tandem_pb2.SolveRequest,
        span: trace.Span,
        *,
        cancels: bool,
    ) -> None:
        self.dropped = Dropped()
        self.native: list[str] = []  # what the large model's API has sent
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._span = span
        self.accepted: Accepted
        self._live: LiveText
        self.result: tandem_pb2.SolveResult | None = None
        with trace.use_span(span):
            self._following = asyncio.create_task(self._follow(client, request, cancels))

    async def start(self) -> Accepted:
        """Raises RequestError where the gateway refuses."""
        first = await self._next()
        assert isinstance(first, Accepted)
        self.accepted = first
        return first

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield what is new for the client, to the end; then `result` is set. An empty piece says that events came.

        Raises RequestError, TextWasLost, Cancelled.
        """
        live = self._live = LiveText(self.accepted.answer_text)
        while self.result is None:
            event = await self._next()
            if isinstance(event, Completed):
                if event.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED:
                    raise Cancelled("the request was cancelled")
                self.result = event.result
                if dropped := self.dropped.of(self.result):
                    self.result.notes.append(f"not followed: {', '.join(dropped)}")
            piece = live.push(event)
            self.native += piece.native
            yield piece

    @property
    def reasoning(self) -> str:
        """The insight that the answer was written from; `result` is set."""
        return self._live.reasoning

    def close(self) -> None:
        """The client is served, or gone."""
        self._following.cancel()
        self._span.end()

    async def _next(self) -> Event:
        item = await self._events.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _follow(self, client: AsyncClient, request: tandem_pb2.SolveRequest, cancels: bool) -> None:
        try:
            async with aclosing(client.solve_request(request, cancels=cancels)) as events:
                async for event in events:
                    self._events.put_nowait(event)
        except Exception as error:
            self._events.put_nowait(error)

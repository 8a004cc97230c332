"""Clients of a gateway: `Client` blocks, `AsyncClient` is for asyncio. Both stream, and both resume a lost
connection.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Unpack

import grpc

from tandem.client.batches import AsyncBatches, Batches
from tandem.client.events import Completed, Event, event_from_pb
from tandem.client.gateway import Gateway
from tandem.client.request import Question, SolveOptions, solve_request
from tandem.client.unary_calls import AsyncUnaryCalls, Metadata, UnaryCalls, trace_context
from tandem.errors import SERVER_ENDS, RequestError, from_rpc
from tandem.method.timeouts import Timeouts
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

logger = logging.getLogger(__name__)

_DEADLINE_SECONDS = Timeouts.client_deadline.total_seconds()
_RECONNECT_SECONDS = 0.5
_GIVE_UP_AFTER_SECONDS = 60.0  # a gateway that was killed is back sooner, on a busy machine too


class _Progress:
    """How far a request was followed, over as many connections as that takes."""

    def __init__(self, request: tandem_pb2.SolveRequest) -> None:
        self.request = tandem_pb2.SolveRequest()
        self.request.CopyFrom(request)
        self.request_id = request.request_id  # as the gateway names it, once it has accepted the request
        self.is_complete = False
        self._is_resumed = self._was_there = False
        self._lost_since: float | None = None

    def is_new(self, message: tandem_pb2.SolveEvent) -> bool:
        """Notes where to resume. False for an `accepted` that repeats the first one."""
        self._lost_since = None
        self.request.resume_after = message.cursor
        self.is_complete = message.HasField("completed")
        if message.HasField("accepted"):
            self.request_id = message.accepted.request_id
        return not (message.HasField("accepted") and self._is_resumed)

    def may_reconnect(self, error: RequestError) -> bool:
        """Whether a gateway was there within the last minute, and has the request, or ended before it took it: the
        client names the request, so that who asks twice joins it.
        """
        now = time.monotonic()
        self._lost_since = now if self._lost_since is None else self._lost_since
        self._is_resumed = bool(self.request.resume_after)
        self._was_there |= error.reason == SERVER_ENDS and bool(self.request.request_id)
        is_retryable = error.is_connection_lost and now - self._lost_since < _GIVE_UP_AFTER_SECONDS
        return is_retryable and bool(self.request.resume_after or self._was_there)


def _solve_metadata() -> Metadata:
    """The context of a client span, which the gateway's span has as its parent."""
    from opentelemetry import trace

    tracer = trace.get_tracer("tandem.client")
    with tracer.start_as_current_span("tandem.v1.TandemService/Solve", kind=trace.SpanKind.CLIENT):
        return trace_context()


class Client(UnaryCalls):
    """A blocking client.

    `address` is `host:port`, or `https://host:port` for TLS; empty: TANDEM_ADDRESS, else the local stack. `api_key` is
    an API key or an OIDC token; empty: TANDEM_API_KEY.
    """

    def __init__(self, address: str = "", api_key: str = "") -> None:
        self._gateway = Gateway.of(address, api_key)
        self._channel = self._gateway.channel()
        self._stub = tandem_pb2_grpc.TandemServiceStub(self._channel)
        self.batches = Batches(self._channel, self._gateway.metadata)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return self._gateway.address

    def close(self) -> None:
        self._channel.close()

    def solve(self, question: Question, **options: Unpack[SolveOptions]) -> Generator[Event, None, None]:
        """The events as they happen, `Completed` last. Closing the generator early cancels the request.

        Raises RequestError.
        """
        yield from self.solve_request(solve_request(question, **options))

    def solve_request(self, request: tandem_pb2.SolveRequest, *, cancels: bool = True) -> Generator[Event, None, None]:
        """As `solve`, for a message that was built by hand.

        Without `cancels`, closing the generator early only leaves: the gateway then cancels the request after its
        grace, unless another client reads it.
        """
        progress = _Progress(request)
        metadata = (*_solve_metadata(), *self._gateway.metadata)
        try:
            while not progress.is_complete:
                call = self._stub.Solve(progress.request, timeout=_DEADLINE_SECONDS, metadata=metadata)
                try:
                    for message in call:
                        event = event_from_pb(message) if progress.is_new(message) else None
                        if event:
                            yield event
                except grpc.RpcError as rpc_error:
                    error = from_rpc(rpc_error)
                    if not progress.may_reconnect(error):
                        raise error from None
                    time.sleep(_RECONNECT_SECONDS)
                finally:
                    call.cancel()  # type: ignore[no-untyped-call]
        except GeneratorExit:
            if cancels and not (request.keep_running or progress.is_complete):
                try:
                    self.cancel(progress.request_id)
                except RequestError as error:  # without a reader the gateway cancels the request after its grace
                    logger.debug("request %s was not cancelled: %s", progress.request_id, error)
            raise

    def ask(self, question: Question, **options: Unpack[SolveOptions]) -> tandem_pb2.SolveResult:
        """The result alone: answer, stop, usage and bill. Raises RequestError."""
        [result] = [e.result for e in self.solve(question, **options) if isinstance(e, Completed)]
        return result


class AsyncClient(AsyncUnaryCalls, AbstractAsyncContextManager["AsyncClient"]):
    """`Client` for asyncio, with the same arguments; `channel` replaces the one to `address`, and is closed with the
    client.
    """

    def __init__(self, address: str = "", api_key: str = "", channel: grpc.aio.Channel | None = None) -> None:
        self._gateway = Gateway.of(address, api_key)
        self._channel = channel or self._gateway.aio_channel()
        self._stub = tandem_pb2_grpc.TandemServiceStub(self._channel)
        self.batches = AsyncBatches(self._channel, self._gateway.metadata)

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def address(self) -> str:
        return self._gateway.address

    def for_caller(self, api_key: str) -> AsyncClient:
        """This client on behalf of somebody else, over the same connection: nothing but `api_key` is sent, or
        nothing.
        """
        other = copy.copy(self)
        other._gateway = replace(self._gateway, credential=api_key)
        other.batches = AsyncBatches(self._channel, other._gateway.metadata)
        return other

    async def close(self) -> None:
        await self._channel.close(None)

    def solve(self, question: Question, **options: Unpack[SolveOptions]) -> AsyncGenerator[Event, None]:
        """The events as they happen, `Completed` last. Closing the generator early (contextlib.aclosing) cancels the
        request.

        Raises RequestError.
        """
        return self.solve_request(solve_request(question, **options))

    async def solve_request(
        self, request: tandem_pb2.SolveRequest, *, cancels: bool = True
    ) -> AsyncGenerator[Event, None]:
        """As `solve`, for a message that was built by hand.

        Without `cancels`, closing the generator early only leaves: the gateway then cancels the request after its
        grace, unless another client reads it.
        """
        async with aclosing(self.messages(request, cancels=cancels)) as messages:
            async for message in messages:
                if event := event_from_pb(message):
                    yield event

    async def messages(
        self, request: tandem_pb2.SolveRequest, *, cancels: bool = True
    ) -> AsyncGenerator[tandem_pb2.SolveEvent, None]:
        """As `solve_request`, but each event as its message, with the cursor to resume after it."""
        progress = _Progress(request)
        metadata = (*_solve_metadata(), *self._gateway.metadata)
        try:
            while not progress.is_complete:
                call = self._stub.Solve(progress.request, timeout=_DEADLINE_SECONDS, metadata=metadata)
                try:
                    async for message in call:
                        if progress.is_new(message):
                            yield message
                except grpc.RpcError as rpc_error:
                    error = from_rpc(rpc_error)
                    if not progress.may_reconnect(error):
                        raise error from None
                    await asyncio.sleep(_RECONNECT_SECONDS)
                finally:
                    call.cancel()
        except (GeneratorExit, asyncio.CancelledError):
            if cancels and not (request.keep_running or progress.is_complete):
                try:
                    await self.cancel(progress.request_id)
                except RequestError as error:  # as in Client
                    logger.debug("request %s was not cancelled: %s", progress.request_id, error)
            raise

    async def ask(self, question: Question, **options: Unpack[SolveOptions]) -> tandem_pb2.SolveResult:
        """The result alone: answer, stop, usage and bill. Raises RequestError."""
        [result] = [e.result async for e in self.solve(question, **options) if isinstance(e, Completed)]
        return result

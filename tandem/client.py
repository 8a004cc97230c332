"""Talk to a gateway: `Client` for ordinary code, `AsyncClient` for asyncio. Both stream, both read on after a cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from opentelemetry import propagate, trace

from tandem.errors import RequestError, from_rpc
from tandem.paths import default_address
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

_OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
_DEADLINE_SECONDS = 15 * 60.0
_RECONNECTS = 20
_RECONNECT_SECONDS = 0.5
T = TypeVar("T")
_tracer = trace.get_tracer("tandem.client")


def solve_request(
    question: str,
    *,
    profile: str = "",
    request_id: str = "",
    max_cost_usd: float | None = None,
    max_llm_tokens: int | None = None,
    threshold: float | None = None,
    thresholds: Mapping[int, float] | None = None,
    max_stage: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    keep_running: bool = False,
    tenant: str = "",
    code: bool = False,
) -> tandem_pb2.SolveRequest:
    """The message for a question; see protos/tandem/v1/tandem.proto for units and ranges. Makes the id if none is given.

    `code`: the question is the head of a Python function, and the answer its code.
    """
    return tandem_pb2.SolveRequest(
        request_id=request_id or uuid4().hex,
        question=question,
        profile=profile,
        budget=tandem_pb2.Budget(max_cost_usd=max_cost_usd, max_llm_tokens=max_llm_tokens),
        stop=tandem_pb2.StopOverrides(threshold=threshold, thresholds=thresholds, max_stage=max_stage),
        sampling=tandem_pb2.Sampling(temperature=temperature, top_p=top_p, seed=seed),
        keep_running=keep_running,
        tenant=tenant,
        task=tandem_pb2.TASK_CODE if code else tandem_pb2.TASK_UNSPECIFIED,
    )


class _Reading:
    """One reading of a request, over as many connections as it takes."""

    def __init__(self, request: tandem_pb2.SolveRequest) -> None:
        self.request = tandem_pb2.SolveRequest()
        self.request.CopyFrom(request)
        self.is_complete = False
        self._cuts = 0

    def see(self, event: tandem_pb2.SolveEvent) -> bool:
        """Note how far it was read; False for an `accepted` that only repeats the first one."""
        is_repeat = event.HasField("accepted") and bool(self._cuts)
        self.request.resume_after = event.cursor
        self.is_complete = event.HasField("completed")
        return not is_repeat

    def may_reconnect(self, error: RequestError) -> bool:
        self._cuts += 1
        return error.is_connection_lost and self._cuts <= _RECONNECTS and bool(self.request.resume_after)


def _metadata() -> tuple[tuple[str, str], ...]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


class Client:
    """A blocking client. `address` is `host:port`; empty finds the local stack."""

    def __init__(self, address: str = "") -> None:
        self.address = address or default_address()
        self._channel = grpc.insecure_channel(self.address, options=_OPTIONS)
        self._stub = tandem_pb2_grpc.TandemServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def solve(self, question: str, **options: Any) -> Generator[tandem_pb2.SolveEvent, None, None]:
        """Events as they happen, `completed` last; options as in `solve_request`. Leaving early cancels the request.

        Raises RequestError.
        """
        yield from self.solve_request(solve_request(question, **options))

    def solve_request(self, request: tandem_pb2.SolveRequest) -> Generator[tandem_pb2.SolveEvent, None, None]:
        reading = _Reading(request)
        with _tracer.start_as_current_span("tandem.v1.TandemService/Solve", kind=trace.SpanKind.CLIENT):
            metadata = _metadata()
        try:
            while not reading.is_complete:
                call = self._stub.Solve(reading.request, timeout=_DEADLINE_SECONDS, metadata=metadata)
                try:
                    for event in call:
                        if reading.see(event):
                            yield event
                except grpc.RpcError as rpc_error:
                    error = from_rpc(rpc_error)
                    if not reading.may_reconnect(error):
                        raise error from None
                    time.sleep(_RECONNECT_SECONDS)
                finally:
                    call.cancel()  # type: ignore[no-untyped-call]
        except GeneratorExit:
            if not (request.keep_running or reading.is_complete):
                self.cancel(request.request_id)
            raise

    def ask(self, question: str, **options: Any) -> tandem_pb2.SolveResult:
        """The result alone. Raises RequestError."""
        [completed] = [e.completed for e in self.solve(question, **options) if e.HasField("completed")]
        return completed

    def get(self, request_id: str) -> tandem_pb2.GetRequestResponse:
        return self._unary(self._stub.GetRequest, tandem_pb2.GetRequestRequest(request_id=request_id))

    def cancel(self, request_id: str) -> tandem_pb2.CancelRequestResponse:
        return self._unary(self._stub.CancelRequest, tandem_pb2.CancelRequestRequest(request_id=request_id))

    def list(self, where: str = "", limit: int = 20) -> tandem_pb2.ListRequestsResponse:
        """Requests that meet `where` (`cost > 0.01 and stage = 2`), newest first. Raises RequestError."""
        return self._unary(self._stub.ListRequests, tandem_pb2.ListRequestsRequest(where=where, limit=limit))

    def profiles(self) -> tandem_pb2.ListProfilesResponse:
        return self._unary(self._stub.ListProfiles, tandem_pb2.ListProfilesRequest())

    @staticmethod
    def _unary(method: Callable[..., T], request: object) -> T:
        try:
            return method(request, timeout=10, metadata=_metadata())
        except grpc.RpcError as error:
            raise from_rpc(error) from None


class AsyncClient:
    """The same for asyncio. `address` is `host:port`; empty finds the local stack."""

    def __init__(self, address: str = "") -> None:
        self.address = address or default_address()
        self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        self._stub = tandem_pb2_grpc.TandemServiceStub(self._channel)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close(None)

    def solve(self, question: str, **options: Any) -> AsyncGenerator[tandem_pb2.SolveEvent, None]:
        """Events as they happen, `completed` last; options as in `solve_request`. Closing it early (contextlib.aclosing)
        cancels the request. Raises RequestError.
        """
        return self.solve_request(solve_request(question, **options))

    async def solve_request(self, request: tandem_pb2.SolveRequest) -> AsyncGenerator[tandem_pb2.SolveEvent, None]:
        reading = _Reading(request)
        with _tracer.start_as_current_span("tandem.v1.TandemService/Solve", kind=trace.SpanKind.CLIENT):
            metadata = _metadata()
        try:
            while not reading.is_complete:
                call = self._stub.Solve(reading.request, timeout=_DEADLINE_SECONDS, metadata=metadata)
                try:
                    async for event in call:
                        if reading.see(event):
                            yield event
                except grpc.RpcError as rpc_error:
                    error = from_rpc(rpc_error)
                    if not reading.may_reconnect(error):
                        raise error from None
                    await asyncio.sleep(_RECONNECT_SECONDS)
                finally:
                    call.cancel()
        except (GeneratorExit, asyncio.CancelledError):
            if not (request.keep_running or reading.is_complete):
                await self.cancel(request.request_id)
            raise

    async def ask(self, question: str, **options: Any) -> tandem_pb2.SolveResult:
        """The result alone. Raises RequestError."""
        [completed] = [e.completed async for e in self.solve(question, **options) if e.HasField("completed")]
        return completed

    async def get(self, request_id: str) -> tandem_pb2.GetRequestResponse:
        return await self._unary(self._stub.GetRequest, tandem_pb2.GetRequestRequest(request_id=request_id))

    async def cancel(self, request_id: str) -> tandem_pb2.CancelRequestResponse:
        return await self._unary(self._stub.CancelRequest, tandem_pb2.CancelRequestRequest(request_id=request_id))

    async def list(self, where: str = "", limit: int = 20) -> tandem_pb2.ListRequestsResponse:
        """Requests that meet `where` (`cost > 0.01 and stage = 2`), newest first. Raises RequestError."""
        return await self._unary(self._stub.ListRequests, tandem_pb2.ListRequestsRequest(where=where, limit=limit))

    async def profiles(self) -> tandem_pb2.ListProfilesResponse:
        return await self._unary(self._stub.ListProfiles, tandem_pb2.ListProfilesRequest())

    @staticmethod
    async def _unary(method: Callable[..., Awaitable[T]], request: object) -> T:
        try:
            return await method(request, timeout=10, metadata=_metadata())
        except grpc.RpcError as error:
            raise from_rpc(error) from None

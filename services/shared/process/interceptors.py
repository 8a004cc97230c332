"""What every call of a server passes through: its error on the way to the caller, and the end of a stream whose client
does not read.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from opentelemetry import trace

from services.shared.observability.spans import set_attributes
from services.shared.process.callers import NO_GUARD, Guard
from services.shared.process.status import from_engine, to_status
from tandem.method.errors import InvalidArgument, TandemError

logger = logging.getLogger(__name__)
KnownError = Callable[[Exception], TandemError | None]
WRITE_TIMEOUT = timedelta(seconds=20)
"""Until a client must have taken a message, beyond what fits into its window and the buffers."""
NEEDED_AFTER = timedelta(seconds=1)
"""The same where others need its place."""


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Turns a TandemError into its status with details; any other error into INTERNAL with a fixed text and a log.

    A call is served once `guard` lets it pass. `known_error` says which errors of others have a TandemError.
    """

    def __init__(self, guard: Guard = NO_GUARD, known_error: KnownError = from_engine) -> None:
        self._guard, self._known_error = guard, known_error

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(details)
        if handler is None or details.method.startswith(("/grpc.health", "/grpc.reflection")):
            return handler
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _guard_stream(handler.unary_stream, self._guard, details.method, self._known_error),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guard_unary(handler.unary_unary, self._guard, details.method, self._known_error),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                _guard_upload(handler.stream_unary, self._guard, details.method, self._known_error),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        return handler


def _guard_stream(behavior: Any, guard: Guard, method: str, known_error: KnownError) -> Any:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            await guard.admit(context, method)
            _check_form(request)
            async for response in behavior(request, context):
                yield response
        except Exception as error:
            await _abort(context, error, method, known_error)

    return guarded


def _guard_unary(behavior: Any, guard: Guard, method: str, known_error: KnownError) -> Any:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            await guard.admit(context, method)
            _check_form(request)
            return await behavior(request, context)
        except Exception as error:
            await _abort(context, error, method, known_error)

    return guarded


def _guard_upload(behavior: Any, guard: Guard, method: str, known_error: KnownError) -> Any:
    async def guarded(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            await guard.admit(context, method)
            return await behavior(_well_formed(requests), context)
        except Exception as error:
            await _abort(context, error, method, known_error)

    return guarded


async def _well_formed(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Raises InvalidArgument for bytes that are no message."""
    async for request in requests:
        _check_form(request)
        yield request


class _Malformed:
    """What stands in a request's place: its bytes are no message of the method."""


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """gRPC itself would answer UNKNOWN with the name of a Python class."""

    def parsed(data: bytes) -> Any:
        try:
            return deserialize(data) if deserialize else data
        except DecodeError:
            return _Malformed()

    return parsed


def _check_form(request: Any) -> None:
    """Raises InvalidArgument for bytes that are no message."""
    if isinstance(request, _Malformed):
        raise InvalidArgument("the request's bytes are no message of this method", field="", reason="MALFORMED")


async def _abort(
    context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str, known_error: KnownError
) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    known = error if isinstance(error, TandemError) else known_error(error)
    if known is None:
        logger.exception("%s failed", method)
        await context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has the cause")
        return
    set_attributes(trace.get_current_span(), {"error.type": known.reason})
    status = rpc_status.to_status(to_status(known))
    await context.abort(status.code, status.details, status.trailing_metadata)


class SlowReaderInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Outside of all that make messages: it writes them itself, because what yields one is not told how long it takes.

    gRPC has no limit for this: a client with an HTTP/2 window of 0 answers pings, and may stay for as long as its
    connection.
    """

    def __init__(self) -> None:
        self._writes: dict[asyncio.Timeout, float] = {}  # those that wait, the longest first, and since when

    def end_slowest(self) -> bool:
        """End the stream that has waited for its client for longest. False where none has waited for NEEDED_AFTER."""
        now = asyncio.get_running_loop().time()
        for write, began in self._writes.items():
            if now - began < NEEDED_AFTER.total_seconds():
                return False
            if not write.expired():
                del self._writes[write]
                write.reschedule(now)
                return True
        return False

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(details)
        if handler is None or not inspect.isasyncgenfunction(handler.unary_stream):
            return handler
        return grpc.unary_stream_rpc_method_handler(
            self._writing(handler.unary_stream),  # a coroutine that writes itself, as gRPC also takes
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _writing(self, behavior: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
        async def write_all(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with aclosing(behavior(request, context)) as messages:  # type: ignore[type-var]  # a generator, see above
                async for message in messages:
                    if not await self._is_taken(context, message):
                        break
                else:
                    return
            # The handler has ended by now. The status may wait for a window, too, which costs nobody a place.
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the client took no message for too long; it may resume")

        return write_all

    async def _is_taken(self, context: grpc.aio.ServicerContext[Any, Any], message: Any) -> bool:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT.total_seconds()) as limit:  # no task: this runs for every message
                self._writes[limit] = asyncio.get_running_loop().time()
                try:
                    await context.write(message)
                finally:
                    self._writes.pop(limit, None)
        except TimeoutError:
            return False
        return True

"""A stream whose client does not read is ended: its handler holds a place that others wait for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc

WRITE_TIMEOUT = timedelta(seconds=20)
"""Until a client must have taken a message, beyond what fits into its window and the buffers."""
NEEDED_AFTER = timedelta(seconds=1)
"""The same where others need its place."""


class SlowReaderInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """The outermost interceptor: it writes the messages itself, because what yields one is not told how long it takes.

    gRPC has no limit for this: a client with an HTTP/2 window of 0 answers pings, and may stay for as long as its connection.
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

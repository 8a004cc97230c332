"""The end of a server's calls with the server: each gets a status that says why, and that it may be asked again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_status import rpc_status

from services.shared.process.status import to_status
from tandem.errors import SERVER_ENDS
from tandem.method.errors import Unavailable

_HANDLERS = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
}
_QUIET_TURNS, _TURN_SECONDS = 10, 0.01
_MOST_TURNS = 200
_RETRY_SECONDS = 1.0
Behavior = Callable[[Any, Any], Awaitable[Any]]


class EndingInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """The outermost interceptor: it knows the calls that run, whether they write or are read.

    gRPC itself ends a call that outlasts its grace with UNAVAILABLE and no reason, and one that arrived and was not
    accepted yet with a bare CANCELLED, as if its caller had cancelled it.
    """

    def __init__(self) -> None:
        self._num_accepted = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._is_over = False

    async def accept_arrived(self) -> None:
        """Returns when no further call is accepted for some turns of the event loop, which on a busy machine are long.
        Before the server stops.
        """
        quiet, seen = 0, self._num_accepted
        for _ in range(_MOST_TURNS):
            await asyncio.sleep(_TURN_SECONDS)
            quiet, seen = (quiet + 1 if seen == self._num_accepted else 0), self._num_accepted
            if quiet == _QUIET_TURNS:
                return

    def end(self) -> None:
        """The calls that run end with SERVER_ENDS."""
        self._is_over = True
        for task in self._running:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        self._num_accepted += 1
        handler = await continuation(details)
        for kind, make in _HANDLERS.items():
            if inspect.iscoroutinefunction(behavior := getattr(handler, kind, None)):
                return make(self._ending(behavior), handler.request_deserializer, handler.response_serializer)
        return handler

    def _ending(self, behavior: Behavior) -> Behavior:
        async def served(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                return await behavior(request, context)
            except asyncio.CancelledError:
                if not self._is_over:
                    raise
                task.uncancel()
                status = rpc_status.to_status(to_status(_server_ends()))
                await context.abort(status.code, status.details, status.trailing_metadata)
            finally:
                self._running.discard(task)

        return served


def _server_ends() -> Unavailable:
    return Unavailable(
        "this server ends before the call does: ask again, and another answers; under the same request id nothing is "
        "paid twice",
        reason=SERVER_ENDS, retry_after_s=_RETRY_SECONDS,
    )  # fmt: skip

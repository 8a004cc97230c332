"""How calls end with their server: with a reason to ask again, whether they run or wait to be accepted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import pytest

from services.shared.process.server import Server
from tandem import Accepted, Client, Completed, RequestError
from tandem.errors import SERVER_ENDS, from_rpc
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

NAME = tandem_pb2.DESCRIPTOR.services_by_name["TandemService"].full_name
_BOUND_SECONDS = 60.0
EndedCall = tuple[grpc.StatusCode, str]


class _Gateway(tandem_pb2_grpc.TandemServiceServicer):
    """Accepts requests, and completes them once `completes`."""

    def __init__(self, *, completes: bool = False) -> None:
        self.completes, self.ids = completes, list[str]()
        self.accepted = asyncio.Semaphore(0)

    async def Solve(
        self, request: tandem_pb2.SolveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[tandem_pb2.SolveEvent]:
        self.ids.append(request.request_id)
        yield tandem_pb2.SolveEvent(cursor="0", accepted=tandem_pb2.Accepted(request_id=request.request_id))
        self.accepted.release()
        if not self.completes:
            await asyncio.Event().wait()
        result = tandem_pb2.SolveResult(request_id=request.request_id, answer="42")
        yield tandem_pb2.SolveEvent(cursor="1", completed=result)

    async def GetRequest(
        self, request: tandem_pb2.GetRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.GetRequestResponse:
        self.accepted.release()
        await asyncio.Event().wait()
        raise AssertionError


async def _started(gateway: _Gateway, port: int = 0) -> Server:
    server = Server("127.0.0.1", port, [NAME])
    tandem_pb2_grpc.add_TandemServiceServicer_to_server(gateway, server.grpc)
    await server.start()
    await server.serving()
    return server


async def test_calls_that_outlast_the_drain_end_with_a_reason() -> None:
    gateway = _Gateway()
    server = await _started(gateway)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = tandem_pb2_grpc.TandemServiceStub(channel)
        stream, unary = stub.Solve(tandem_pb2.SolveRequest()), stub.GetRequest(tandem_pb2.GetRequestRequest())
        await stream.read()
        await asyncio.gather(gateway.accepted.acquire(), gateway.accepted.acquire(), asyncio.sleep(0, unary))
        await server.stop(timedelta(0))
        for call in (stream.read(), unary):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call
            error = from_rpc(ended.value)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, SERVER_ENDS)
            assert error.is_connection_lost
            assert error.retry_after_s


def test_no_call_that_arrived_before_the_stop_ends_as_if_its_caller_had_cancelled_it() -> None:
    """A busy server has calls that it has not accepted as it is told to end."""
    is_ready, all_sent, num_late = threading.Event(), threading.Event(), 10
    found: dict[str, Any] = {}

    async def serve() -> None:
        gateway = _Gateway()
        server = await _started(gateway)
        found["port"], found["gateway"] = server.port, gateway
        is_ready.set()
        await gateway.accepted.acquire()
        all_sent.wait(_BOUND_SECONDS)  # the loop is busy: what arrives now waits in gRPC
        await server.stop(timedelta(0))

    serving = threading.Thread(target=lambda: asyncio.run(serve()))
    serving.start()
    assert is_ready.wait(_BOUND_SECONDS)
    with grpc.insecure_channel(f"127.0.0.1:{found['port']}") as channel, ThreadPoolExecutor(num_late) as pool:
        stub = tandem_pb2_grpc.TandemServiceStub(channel)
        first = stub.Solve(tandem_pb2.SolveRequest(request_id="first"))
        next(first)
        late = [stub.Solve(tandem_pb2.SolveRequest(request_id=str(number))) for number in range(num_late)]
        time.sleep(1.0)  # gRPC does not report that bytes have left; those that leave later find no server
        all_sent.set()
        ended = list(pool.map(_end, [first, *late]))
    serving.join(_BOUND_SECONDS)
    assert ended[0] == (grpc.StatusCode.UNAVAILABLE, SERVER_ENDS)
    assert {code for code, _ in ended} == {grpc.StatusCode.UNAVAILABLE}


def _end(call: Any) -> EndedCall:
    """The raw status with its reason: no client has mapped it."""
    with pytest.raises(grpc.RpcError) as ended:
        for _ in call:
            pass
    return ended.value.code(), from_rpc(ended.value).reason


class _Ended(grpc.RpcError):
    """What a gRPC server leaves of a call that it has not accepted."""

    def __init__(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize("details", ["CANCELLED", "Received RST_STREAM with error code 8", ""])
def test_a_bare_cancelled_of_a_server_says_to_ask_again(details: str) -> None:
    error = from_rpc(_Ended(details))
    assert (error.code, error.reason, error.is_connection_lost) == (grpc.StatusCode.UNAVAILABLE, SERVER_ENDS, True)


def test_a_client_that_closes_its_own_channel_is_told_so() -> None:
    with grpc.insecure_channel("127.0.0.1:9") as channel:
        call = tandem_pb2_grpc.TandemServiceStub(channel).Solve(tandem_pb2.SolveRequest(), wait_for_ready=True)
    with pytest.raises(grpc.RpcError) as ended:
        next(call)
    assert from_rpc(ended.value).code is grpc.StatusCode.CANCELLED


async def test_a_client_follows_its_request_from_a_gateway_that_ends_to_the_next_one() -> None:
    """It names the request itself: whether the first gateway had begun it makes no difference."""
    first = _Gateway()
    server = await _started(first)
    port = server.port

    def ask() -> list[Any]:
        with Client(f"127.0.0.1:{port}") as client:
            return list(client.solve("6 x 7?", request_id="mine"))

    asking = asyncio.create_task(asyncio.to_thread(ask))
    await first.accepted.acquire()
    await server.stop(timedelta(0))
    second = _Gateway(completes=True)
    server = await _started(second, port)
    async with asyncio.timeout(_BOUND_SECONDS):
        events = await asking
    assert [type(event) for event in events] == [Accepted, Completed]
    assert (first.ids, second.ids) == (["mine"], ["mine"])
    await server.stop(timedelta(0))


def test_no_gateway_at_all_is_reported_at_once() -> None:
    with Client("127.0.0.1:9") as client, pytest.raises(RequestError) as refused:
        client.ask("6 x 7?")
    assert refused.value.is_connection_lost

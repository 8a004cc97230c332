"""A reader leaves a request whose gateway has gone: quietly, and with its own error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tandem import Accepted, AsyncClient, Client
from tandem.v1 import tandem_pb2, tandem_pb2_grpc


class Gateway(tandem_pb2_grpc.TandemServiceServicer):
    """Accepts a request, and says no more."""

    def __init__(self) -> None:
        self.server = grpc.server(ThreadPoolExecutor(2))
        tandem_pb2_grpc.add_TandemServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        self._gone = threading.Event()

    def Solve(self, request, context):  # type: ignore[no-untyped-def]
        yield tandem_pb2.SolveEvent(cursor="0.0.0", accepted={"request_id": "r"})
        self._gone.wait()

    def go(self) -> None:
        self._gone.set()
        self.server.stop(0).wait()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.go()


def test_closing_the_events_is_quiet_where_no_gateway_answers(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        events = client.solve("why?")
        assert isinstance(next(events), Accepted)
        gateway.go()
        events.close()


async def test_closing_the_events_of_asyncio_is_quiet_where_no_gateway_answers(gateway: Gateway) -> None:
    async with AsyncClient(gateway.address) as client:
        events = client.solve("why?")
        assert isinstance(await anext(events), Accepted)
        gateway.go()
        await events.aclose()


def test_the_readers_own_error_comes_through(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        events = client.solve("why?")
        next(events)
        gateway.go()
        with pytest.raises(GeneratorExit):
            events.throw(GeneratorExit)

"""A peer that falls silent in the middle of a stream, with nothing closed, is given up by either side within half a
minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.shared.process.channels import open_channel
from services.shared.process.server import SERVER_OPTIONS
from tandem.client.gateway import Gateway
from tests.links import Links

_SECONDS = 45.0  # 20 s to the ping and 5 s to its reply, or 10 s for gRPC's own, and a busy machine


class _Talker(health_pb2_grpc.HealthServicer):
    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        try:
            while True:
                yield health_pb2.HealthCheckResponse()
                await asyncio.sleep(0.005)
        finally:
            self.is_over.set()


async def _read_all(call: Any) -> None:
    while True:
        await call.read()


async def test_a_silent_peer_is_given_up_by_both_sides_of_our_channels_and_the_clients() -> None:
    """At the same time: it takes half a minute."""
    await asyncio.gather(_falls_silent(open_channel), _falls_silent(lambda address: Gateway(address).aio_channel()))


async def _falls_silent(opened: Callable[[str], grpc.aio.Channel]) -> None:
    server, talker = grpc.aio.server(options=list(SERVER_OPTIONS)), _Talker()
    health_pb2_grpc.add_HealthServicer_to_server(talker, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with Links() as links:
        address = await asyncio.to_thread(links.between, "client", "server", f"127.0.0.1:{port}")
        async with opened(address) as channel:
            call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            for _ in range(200):  # gRPC measures while they come
                await call.read()
            silence = asyncio.create_task(asyncio.to_thread(links["client to server"].silence, 0.5))
            began = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await _read_all(call)
            assert time.monotonic() - began < _SECONDS
            await asyncio.wait_for(talker.is_over.wait(), _SECONDS)
            await silence
    await server.stop(0)

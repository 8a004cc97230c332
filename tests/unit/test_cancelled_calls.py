"""A call that its caller cancels ends at the service, too: what it began there must not go on unseen."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.shared.process.channels import open_channel
from tandem.v1 import execution_pb2, execution_pb2_grpc

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


class _Service(execution_pb2_grpc.SlmExecutorServicer):
    """Each prefill waits until its caller is gone."""

    def __init__(self) -> None:
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def Prefill(self, request: Any, context: Any) -> execution_pb2.PrefillResponse:
        self.began.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.ended.set()


async def test_a_cancelled_call_ends_at_the_service_and_has_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda *name, **options: provider.get_tracer("test"))
    service, server = _Service(), grpc.aio.server()
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub = execution_pb2_grpc.SlmExecutorStub(channel)
            call = asyncio.ensure_future(stub.Prefill(execution_pb2.PrefillRequest(), timeout=600))
            await service.began.wait()
            call.cancel()
            await asyncio.wait_for(service.ended.wait(), 20)
    finally:
        await server.stop(None)
    assert [span.name for span in exporter.get_finished_spans()] == ["/tandem.v1.SlmExecutor/Prefill"]

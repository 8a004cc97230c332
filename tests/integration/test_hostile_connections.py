"""Connections that come and go, say nothing or say too much: the gateways close them, and go on serving others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import httpx
import psutil
import pytest
import pytest_asyncio

from services.shared.process import http_server
from services.shared.process.server import MOST_STREAMS, Server
from tandem.v1 import tandem_pb2, tandem_pb2_grpc
from tests.conftest import Hold
from tests.integration.asking import ask
from tests.integration.conftest import System
from tests.integration.edge import body, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
_CONNECTIONS = 1000
_FEW = 4
_AT_ONCE = 100
_BOUND_SECONDS = 120.0
_MOST_MORE_FDS = 32
_HEADERS, _RESET, _SETTINGS, _GO_AWAY, _END_HEADERS = 1, 3, 4, 7, 4  # of HTTP/2
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What a connection sends before it goes: nothing, the beginning of a call, of a TLS handshake, of an HTTP request,
# noise.
_BEGINNINGS = (
    b"",
    _PREFACE,
    _PREFACE[:9],
    b"\x16\x03\x01\x02\x00",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n",
    b"\x00" * 300,
)


@pytest_asyncio.fixture(loop_scope="session")
async def edge(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(system.client.address) as client:
        yield client


async def _come_and_go(host: str, port: int, said: bytes) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.write(said)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_thousand_connections_come_and_go_and_none_is_kept(system: System, edge: httpx.AsyncClient) -> None:
    host, _, grpc_port = system.client.address.partition(":")
    process, places = psutil.Process(), asyncio.Semaphore(_AT_ONCE)
    before = process.num_fds()

    async def one(number: int) -> None:
        async with places:
            port = int(grpc_port) if number % 2 else int(str(edge.base_url.port))
            await _come_and_go(host, port, _BEGINNINGS[number % len(_BEGINNINGS)])

    await asyncio.gather(*(one(number) for number in range(_CONNECTIONS)))
    assert (await ask(system, "[scores=16:0.9 slm_eos=5]"))["answer"]
    assert (await edge.get("/healthz")).status_code == 200
    async with asyncio.timeout(_BOUND_SECONDS):
        while process.num_fds() > before + _MOST_MORE_FDS:
            await asyncio.sleep(0.1)


async def test_metadata_of_a_megabyte_is_refused(system: System) -> None:
    async with grpc.aio.insecure_channel(system.client.address) as channel:
        stub = tandem_pb2_grpc.TandemServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListProfiles(tandem_pb2.ListProfilesRequest(), metadata=[("x-flood", "x" * 2**20)], timeout=30)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await ask(system, "[scores=16:0.9 slm_eos=5]"))["answer"]


async def test_a_peer_that_acknowledges_no_settings_begins_few_calls_and_is_soon_closed() -> None:
    """Until then gRPC does not hold it to the limit of metadata."""
    server = Server("127.0.0.1", 0, [])
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    texts = {
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"\x83\x86" + b"".join(_header(*text) for text in texts.items())
    calls = (_frame(_HEADERS, 1 + 2 * number, block) for number in range(MOST_STREAMS + _FEW))
    writer.write(_PREFACE + _frame(_SETTINGS, 0, b"") + b"".join(calls))
    async with asyncio.timeout(_BOUND_SECONDS):
        kinds = [kind async for kind in _kinds(reader)]
    assert kinds.count(_RESET) >= _FEW
    assert kinds[-1] == _GO_AWAY
    writer.close()
    await server.stop(timedelta(0))


def _header(name: str, value: str) -> bytes:
    """In HPACK: not indexed, with a name of its own."""
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def _frame(kind: int, stream: int, content: bytes) -> bytes:
    flags = _END_HEADERS if kind == _HEADERS else 0
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


async def _kinds(reader: asyncio.StreamReader) -> AsyncIterator[int]:
    """Of the frames that come, to the last one but those of calls that go on."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            yield head[3]
            if head[3] == _GO_AWAY:
                return


async def test_headers_of_a_megabyte_are_refused(system: System, edge: httpx.AsyncClient) -> None:
    for headers in ({"x-flood": "x" * 2**20}, {f"x-flood-{number}": "x" * 1_000 for number in range(1_000)}):
        with contextlib.suppress(httpx.TransportError):  # closed while the client still writes
            assert (await edge.get("/v1/models", headers=headers)).status_code == 400
    assert (await edge.get("/v1/models")).status_code == 200


async def test_a_header_that_never_ends_is_refused_before_it_fills_the_memory(edge: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.base_url.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Flood: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(1024):
            writer.write(b"x" * 2**10)
            await writer.drain()
    assert (await reader.read(100)).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_connection_that_does_not_finish_its_headers_is_closed(
    edge: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.1)
    for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.base_url.port)
        writer.write(said)
        assert await asyncio.wait_for(reader.read(), _BOUND_SECONDS) == b""
        writer.close()


async def test_a_connection_that_is_used_again_outlives_the_time_for_headers(
    edge: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.base_url.port)
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(2**16), _BOUND_SECONDS)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)
    writer.close()


async def test_an_empty_line_between_requests_does_not_keep_a_connection_for_ever(
    edge: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.base_url.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(2**16), _BOUND_SECONDS)).startswith(b"HTTP/1.1 200")
    writer.write(b"\r\n")
    assert await asyncio.wait_for(reader.read(), _BOUND_SECONDS) == b""
    writer.close()


async def test_idle_connections_give_way_to_requests_at_the_limit(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they have said nothing, a part of their headers, or a part of a body."""
    monkeypatch.setattr(http_server, "SILENT_SECONDS", 0.0)
    begun = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
    for said in (b"", b"GET /v1/models HTTP/1.1\r\nHost: x\r\n", begun):
        async with serving(system.client.address, max_connections=_FEW) as client:
            idle = [await asyncio.open_connection("127.0.0.1", client.base_url.port) for _ in range(_FEW)]
            for _, writer in idle:
                writer.write(said)
                await writer.drain()
            assert (await client.get("/v1/models")).status_code == 200
            async with asyncio.timeout(_BOUND_SECONDS):
                await asyncio.wait(
                    [asyncio.create_task(reader.read()) for reader, _ in idle], return_when=asyncio.FIRST_COMPLETED
                )
            for _, writer in idle:
                writer.close()


async def test_connections_with_a_request_under_way_do_not_give_way(
    system: System, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SILENT_SECONDS", 0.0)
    question = body(f"[llm_hold=2:{hold} llm_eos=3 slm_eos=2]")
    async with serving(system.client.address, max_connections=_FEW) as client:
        asked = [asyncio.create_task(client.post("/v1/chat/completions", json=question)) for _ in range(_FEW - 1)]
        async with asyncio.timeout(_BOUND_SECONDS):
            while len(system.llm.running) < _FEW - 1:
                await asyncio.sleep(0.01)
        assert (await client.get("/v1/models")).status_code == 503
        hold.release()
        assert {reply.status_code for reply in await asyncio.gather(*asked)} == {200}

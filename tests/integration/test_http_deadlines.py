"""Bodies that do not come and connections without end: the HTTP gateway refuses them in time, and goes on serving
others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest

from services.shared.process import http_server
from tests.integration.conftest import System
from tests.integration.edge import ask, body, serving
from tests.integration.test_http_body_limit import head

pytestmark = pytest.mark.asyncio(loop_scope="session")
_BOUND_SECONDS = 60.0
_LATE_SECONDS = 0.3
_SCRIPT = "[slm_eos=3 scores=0:0.9]"
_CHAT = "/v1/chat/completions"


async def _opened(http: httpx.AsyncClient, said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    writer.write(said)
    return reader, writer


@pytest.mark.parametrize(
    "begun",
    [
        head(_CHAT, "content-length: 100") + b'{"model"',
        head(_CHAT, "transfer-encoding: chunked") + b'8\r\n{"model"\r\n',
        head(_CHAT, "content-length: 100\r\nexpect: 100-continue"),
        head("/v1/responses", "content-length: 2000000"),
        head("/api/requests", "content-length: 100"),
    ],
    ids=["with a length", "chunked", "after 100", "nothing of it", "of the page"],
)
async def test_a_body_that_stops_coming_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", _LATE_SECONDS)
    reader, writer = await _opened(http, begun)
    reply = await asyncio.wait_for(reader.read(), _BOUND_SECONDS)
    assert b"HTTP/1.1 408" in reply[:60]
    writer.close()
    assert (await ask(http, _SCRIPT)).status_code == 200


async def _dripped(http: httpx.AsyncClient, said: bytes) -> bytes:
    """What is read until the other side closes, while a body comes byte by byte after `said`.

    Tried again where a byte comes to a connection that is closed already: its reset may take the reply away.
    """
    async with asyncio.timeout(_BOUND_SECONDS):
        while True:
            reader, writer = await _opened(http, said)
            reading = asyncio.create_task(reader.read())
            while not reading.done():
                writer.write(b" ")
                await asyncio.sleep(_LATE_SECONDS / 20)
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                return reading.result()


async def test_a_body_that_comes_byte_by_byte_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", _LATE_SECONDS)
    assert (await _dripped(http, head(_CHAT, "content-length: 100000"))).startswith(b"HTTP/1.1 408")


async def test_a_body_that_is_long_in_coming_and_comes_is_read(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", 2.0)
    monkeypatch.setattr(http_server, "BODY_STEP_BYTES", 100)
    sent = json.dumps(body(_SCRIPT)).encode().ljust(10_000)
    framing = f"content-length: {len(sent)}\r\nconnection: close"
    reader, writer = await _opened(http, head(_CHAT, framing))
    for begin in range(0, len(sent), 200):
        writer.write(sent[begin : begin + 200])
        await asyncio.sleep(0.1)
    assert (await asyncio.wait_for(reader.read(), _BOUND_SECONDS)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_body_that_goes_on_after_the_reply_is_cut(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", _LATE_SECONDS)
    monkeypatch.setattr(http_server, "BODY_STEP_BYTES", 1)
    reply = await _dripped(http, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"408" not in reply


async def test_a_reply_that_takes_longer_than_a_body_may_is_sent(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.2)
    reply = await ask(http, "[slm_eos=50 scores=0:0.9 ms=20]")
    assert reply.status_code == 200
    assert reply.elapsed.total_seconds() > 0.5


async def test_beyond_the_most_connections_requests_are_refused_and_the_process_counts_as_alive(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SILENT_SECONDS", _BOUND_SECONDS)  # else the idle ones are closed for it
    async with serving(system.client.address, max_connections=4) as http:
        idle = [await _opened(http, b"") for _ in range(3)]
        async with asyncio.timeout(_BOUND_SECONDS):
            while (await http.get("/v1/models")).status_code != 503:
                await asyncio.sleep(0.01)
        assert (await http.get("/healthz")).status_code == 200
        for _, writer in idle:
            writer.close()
        async with asyncio.timeout(_BOUND_SECONDS):
            while (await http.get("/v1/models")).status_code != 200:
                await asyncio.sleep(0.01)
        assert (await ask(http, _SCRIPT)).status_code == 200

"""Readers of server-sent events: one that does not read is cut off and its request ends, one that is slow gets all."""

from __future__ import annotations

import asyncio
import json
import re
import socket

import httpx
import pytest

from services.shared.process import http_server
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import idle
from tests.integration.conftest import System
from tests.integration.test_http_body_limit import head

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux tells what a client took"),
]
_BOUND_SECONDS = 60.0
_WINDOW = 4096  # as little as the kernel allows, so that a few events fill it
_ENDED = b"\r\n0\r\n\r\n"
# Three events of a response repeat it: some 100 KB, two thirds of them at once.
_METADATA = {str(number): "\N{GRINNING FACE}" * 512 for number in range(16)}


class Reader:
    """A client of a stream that reads as much as it is told to."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
        self._socket.setblocking(False)
        self.text = b""

    async def ask(self, http: httpx.AsyncClient, script: str) -> str:
        """The request's id, when the reply has begun."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (http.base_url.host, http.base_url.port))
        body = {"model": "scripted@0.8", "input": script, "stream": True, "metadata": _METADATA}
        asked = json.dumps(body).encode()
        await loop.sock_sendall(self._socket, head("/v1/responses", f"content-length: {len(asked)}") + asked)
        while b"\r\n\r\n" not in self.text:
            await self.read(128)
        found = re.search(rb"x-request-id: (\S+)", self.text)
        assert found, self.text
        return found[1].decode()

    async def read(self, size: int) -> bool:
        """Whether there was more. Raises ConnectionResetError where the connection was cut."""
        async with asyncio.timeout(_BOUND_SECONDS):
            came = await asyncio.get_running_loop().sock_recv(self._socket, size)
        self.text += came
        return bool(came)

    async def read_all(self, size: int = 65_536, pause: float = 0.0) -> None:
        """To the end of the stream, of the connection where that comes first."""
        while not self.text.endswith(_ENDED) and await self.read(size):
            await asyncio.sleep(pause)

    def close(self) -> None:
        self._socket.close()


async def test_a_client_that_does_not_read_is_cut_off_and_its_request_is_cancelled(
    http: httpx.AsyncClient, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 0.5)
    reader = Reader()
    request_id = await reader.ask(http, "[scores=0:0.9 slm_hold=60 slm_eos=64]")
    async with asyncio.timeout(_BOUND_SECONDS):  # the model waits until it is aborted
        while (await system.client.get(request_id)).state != tandem_pb2.REQUEST_STATE_CANCELLED:
            await asyncio.sleep(0.05)
    await idle(system)
    with pytest.raises(ConnectionResetError):
        await reader.read_all()
    reader.close()


async def test_a_client_that_does_not_read_the_end_is_cut_off(
    http: httpx.AsyncClient, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 0.5)
    reader = Reader()
    await reader.ask(http, "[scores=0:0.9 slm_eos=64]")
    await idle(system)
    await asyncio.sleep(2.0)
    with pytest.raises(ConnectionResetError):
        await reader.read_all()
    reader.close()


async def test_a_slow_and_steady_reader_gets_all(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 1.0)
    began = asyncio.get_running_loop().time()
    reader = Reader()
    await reader.ask(http, "[scores=0:0.9 slm_eos=64]")
    await reader.read_all(2048, 0.06)
    assert b"event: response.completed" in reader.text
    assert reader.text.endswith(_ENDED)
    assert asyncio.get_running_loop().time() - began > 2 * http_server.WRITE_SECONDS
    reader.close()


async def test_a_reader_for_whom_nothing_waits_stays(
    http: httpx.AsyncClient, system: System, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 0.2)
    reader = Reader()
    await reader.ask(http, f"[scores=0:0.9 slm_hold=5:{hold} slm_eos=20]")
    reading = asyncio.create_task(reader.read_all())
    await asyncio.sleep(1.5)
    assert not reading.done()
    hold.release()
    await reading
    assert reader.text.endswith(_ENDED)
    reader.close()

"""Clients that stop reading keep their places only while nobody else needs them, also where no tenant has limits."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.gateway.readers import Limits
from services.shared.process import interceptors
from tandem import RequestError
from tandem.client.request import solve_request
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask, idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
_PLACES = 4
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header of HPACK, neither indexed nor compressed."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


@contextlib.asynccontextmanager
async def _who_does_not_read(address: str, question: str) -> AsyncIterator[None]:
    """A caller of Solve with an HTTP/2 window of 0."""
    message = solve_request(question).SerializeToString()
    headers = {
        ":method": "POST", ":scheme": "http", ":path": "/tandem.v1.TandemService/Solve", ":authority": address,
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    host, _, port = address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0))
        + _frame(_HEADERS, _END_HEADERS, 1, b"".join(_literal(*each) for each in headers.items()))
        + _frame(_DATA, _END_STREAM, 1, b"\0" + struct.pack(">I", len(message)) + message)
    )
    try:
        yield
    finally:
        writer.close()


async def _all_places_taken(system: System) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while system.service._readers._places.total() < _PLACES:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _few_places(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.service._readers, "_limits", Limits(_PLACES, timedelta(milliseconds=200)))


async def test_streams_that_are_not_read_give_their_places_to_others(
    system: System, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "NEEDED_AFTER", timedelta(0))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_PLACES):
            await stack.enter_async_context(_who_does_not_read(system.client.address, f"[llm_hold=2:{hold}]"))
        await _all_places_taken(system)
        async with asyncio.timeout(interceptors.WRITE_TIMEOUT.total_seconds() / 2):
            while True:
                with contextlib.suppress(
                    RequestError
                ):  # before the first message waits, none can be told from a reader
                    assert (await ask(system, "[scores=0:0.9 slm_eos=5]"))["answer"]
                    break
    hold.release()
    await idle(system)


async def test_streams_that_are_read_keep_their_places(system: System, hold: Hold) -> None:
    question = f"[llm_hold=2:{hold} llm_eos=3 slm_eos=2]"
    reading = [asyncio.create_task(ask(system, question)) for _ in range(_PLACES)]
    async with asyncio.timeout(BOUND_SECONDS):
        while len(system.llm.running) < _PLACES:
            await asyncio.sleep(0.01)
    with pytest.raises(RequestError) as refused:
        await ask(system, "[scores=0:0.9 slm_eos=5]")
    assert refused.value.reason == "TOO_MANY_REQUESTS"
    hold.release()
    assert all(reply["answer"] for reply in await asyncio.gather(*reading))


async def test_a_stream_that_waits_for_its_client_for_a_moment_keeps_its_place(system: System, hold: Hold) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(_PLACES):
            await stack.enter_async_context(_who_does_not_read(system.client.address, f"[llm_hold=2:{hold}]"))
        await _all_places_taken(system)
        system.service._readers._end_slowest()
        assert system.service._readers._places.total() == _PLACES
    hold.release()
    await idle(system)

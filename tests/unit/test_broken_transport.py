"""What uvloop says of a connection that is closed is "try again", as other broken connections are."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from services.request_log.connection import translated_errors, twice
from tandem.method.errors import Unavailable


async def write_to_closed_connection() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await asyncio.sleep(0.05)
        writer.write(b"PING")


def test_a_write_to_a_closed_connection_is_unavailable() -> None:
    async def write() -> None:
        with translated_errors():
            await write_to_closed_connection()

    with pytest.raises(Unavailable):
        uvloop.run(write())


def test_it_is_made_once_more() -> None:
    writes = [write_to_closed_connection, lambda: asyncio.sleep(0)]
    uvloop.run(twice(lambda: writes.pop(0)()))
    assert writes == []


def test_an_error_of_ours_passes() -> None:
    with pytest.raises(RuntimeError), translated_errors():
        raise RuntimeError("ours")

"""A connection that closes before it is written to means "try again", in the words of uvloop and of Redis's client
alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from redis.asyncio import Connection

from services.shared.request_log.connection import translated_errors, twice
from tandem.method.errors import Unavailable


async def write_to_closed_connection() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await asyncio.sleep(0.05)
        writer.write(b"PING")


class ClosedByAnother(Connection):
    """As a cluster's client closes the connections of a node that it takes for gone: between two steps of a command."""

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        self._reader = self._writer = None


async def write_where_the_client_closed() -> None:
    await ClosedByAnother().send_command("PING")


each_way = pytest.mark.parametrize("write", [write_to_closed_connection, write_where_the_client_closed])


@each_way
def test_a_write_to_a_closed_connection_is_unavailable(write: Callable[[], Awaitable[None]]) -> None:
    async def translated() -> None:
        with translated_errors():
            await write()

    with pytest.raises(Unavailable):
        uvloop.run(translated())


@each_way
def test_it_is_made_once_more(write: Callable[[], Awaitable[None]]) -> None:
    writes = [write, lambda: asyncio.sleep(0)]
    uvloop.run(twice(lambda: writes.pop(0)()))
    assert writes == []


def test_an_error_of_ours_passes() -> None:
    error_of_ours: Any = None
    with pytest.raises(RuntimeError), translated_errors():
        raise RuntimeError("ours")
    with pytest.raises(AttributeError), translated_errors():
        _ = error_of_ours.tokens

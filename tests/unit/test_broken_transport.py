"""A connection to Redis that closes before it is written to means "try again", whichever event loop and client runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop
from redis.asyncio.connection import AbstractConnection

from services.shared.request_log.connection import translated_errors, twice
from services.shared.request_log.servers import Access, open_client
from tandem.method.errors import Unavailable
from tests.conftest import free_port

Broken = Callable[[AbstractConnection], Awaitable[None]]


async def lose(connection: AbstractConnection) -> None:
    """The peer has gone, and the loop has reported it."""
    connection._writer.transport.abort()
    while not connection._reader.at_eof():
        await asyncio.sleep(0)


async def begin_to_close(connection: AbstractConnection) -> None:
    """Another task has closed it, and waits until that is done."""
    connection._writer.close()
    while not connection._reader.at_eof():
        await asyncio.sleep(0)


async def close(connection: AbstractConnection) -> None:
    """As a cluster's client closes the connections of a node that it takes for gone: between two steps of a command."""

    async def is_connected(*_: Any, **__: Any) -> None:
        return None

    await connection.disconnect()
    connection.connect_check_health = is_connected


class ClosedWriter:
    """What asyncio of Python 3.12 and later makes of a closed transport."""

    def is_closing(self) -> bool:
        return True

    def writelines(self, data: object) -> None:
        raise TypeError("'NoneType' object is not callable")

    def close(self) -> None: ...


async def raise_a_type_error(connection: AbstractConnection) -> None:
    await lose(connection)
    connection._writer = ClosedWriter()


each_way = pytest.mark.parametrize("broken", [lose, begin_to_close, close, raise_a_type_error])
each_loop = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
Run = Callable[[Coroutine[Any, Any, None]], None]


async def write_once_broken(url: str, broken: Broken) -> None:
    client = open_client(url, Access(), 2, 2.0)
    try:
        connection = await client.connection_pool.get_connection()
        await broken(connection)
        await connection.send_command("PING")
    finally:
        await client.aclose()


@each_way
@each_loop
def test_a_write_to_a_closed_connection_is_unavailable(run: Run, broken: Broken, redis_url: str) -> None:
    async def translated() -> None:
        with translated_errors():
            await write_once_broken(redis_url, broken)

    with pytest.raises(Unavailable):
        run(translated())


@each_way
@each_loop
def test_it_is_made_once_more(run: Run, broken: Broken, redis_url: str) -> None:
    async def written_twice() -> None:
        writes = [partial(write_once_broken, redis_url, broken), partial(asyncio.sleep, 0)]
        await twice(lambda: writes.pop(0)())
        assert writes == []

    run(written_twice())


@pytest.mark.parametrize(
    "scheme", ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"]
)
def test_connections_of_every_kind_refuse_a_write_once_closed(scheme: str) -> None:
    async def write() -> None:
        client: Any = open_client(
            f"{scheme}://127.0.0.1:{free_port()}{'/primary' * ('sentinel' in scheme)}", Access(), 2, 2.0
        )
        pool = client.connection_pool if "cluster" not in scheme else client.startup_nodes[0]
        connection = pool.make_connection() if "cluster" not in scheme else pool.acquire_connection()
        connection._writer = ClosedWriter()
        connection._reader = object()
        with translated_errors():
            await connection.send_command("PING")

    with pytest.raises(Unavailable, match="was closed before"):
        asyncio.run(write())


def test_an_error_of_ours_passes() -> None:
    error_of_ours: Any = None
    with pytest.raises(RuntimeError), translated_errors():
        raise RuntimeError("ours")
    with pytest.raises(AttributeError), translated_errors():
        _ = error_of_ours.tokens
    with pytest.raises(TypeError), translated_errors():
        error_of_ours()

"""The connections between processes: each pair's go through a TCP proxy of its own, which can delay, reset or silence
them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Self

_CHUNK = 1 << 16
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s
_KEEPALIVE_SECONDS = 20.0  # when a system learns that the other side of a silent connection is gone


class _Connection:
    def __init__(self, link: Link) -> None:
        self._link = link
        self.is_silent = link.is_silent
        self.task = asyncio.current_task()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers, passing = [writer], list[asyncio.Task[None]]()
        try:
            if self._link.is_down:
                raise ConnectionResetError
            far_reader, far_writer = await asyncio.open_connection(*self._link.target)
            writers.append(far_writer)
            for each in (self._pass(reader, far_writer), self._pass(far_reader, writer)):
                passing.append(asyncio.create_task(each))
            await asyncio.gather(*passing)
        except (OSError, asyncio.CancelledError):
            for each in writers:
                _reset(each)
        finally:
            for task in passing:
                task.cancel()
            for each in writers:
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await asyncio.sleep(self._link.delay)
            if not self.is_silent:
                writer.write(data)
                await writer.drain()
        if self.is_silent:
            await asyncio.sleep(_KEEPALIVE_SECONDS)
            raise ConnectionResetError
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        writer.transport.abort()


class Link:
    """From one process to another."""

    def __init__(self, host: str, port: int) -> None:
        self.target = host, port
        self.delay = 0.0
        self.is_down = self.is_silent = False
        self._loop = asyncio.get_running_loop()
        self._open: set[_Connection] = set()

    async def listen(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self)
        self._open.add(connection)
        try:
            await connection.run(reader, writer)
        finally:
            self._open.discard(connection)

    def slow(self, seconds: float, delay: float) -> None:
        """All bytes come later, each way."""
        self.delay = delay
        time.sleep(seconds)
        self.delay = 0.0

    def cut(self, seconds: float) -> None:
        """Connections are reset, in the middle of what they carry, and so are new ones."""
        self.is_down = True
        self._loop.call_soon_threadsafe(self._reset)
        time.sleep(seconds)
        self.is_down = False

    def silence(self, seconds: float) -> None:
        """Connections there are, and new ones, carry no byte and no end any more, ever; those after `seconds` are
        well.
        """
        self.is_silent = True
        self._loop.call_soon_threadsafe(self._fall_silent)
        time.sleep(seconds)
        self.is_silent = False

    def _reset(self) -> None:
        for connection in self._open:
            if connection.task:
                connection.task.cancel()

    def _fall_silent(self) -> None:
        for connection in self._open:
            connection.is_silent = True


class Links:
    """By caller and callee. A context manager: connections pass while it is open."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: dict[str, Link] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for link in self._links.values():
                link.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __getitem__(self, pair: str) -> Link:
        """`pair`: "worker to redis"."""
        return self._links[pair]

    def between(self, caller: str, callee: str, address: str) -> str:
        """The address by which `caller` reaches `callee`, which listens at `address`."""

        async def listen() -> str:
            host, _, port = address.partition(":")
            link = self._links[f"{caller} to {callee}"] = Link(host, int(port))
            return await link.listen()

        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def rewired(self, caller: str, environment: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, str]:
        """`environment` of a process, in which the addresses of others lead through links. `addresses` by process."""
        changed = dict(environment)
        for name, value in environment.items():
            for callee, address in addresses.items():
                if found := re.search(rf"{re.escape(address)}(?!\d)", value):
                    changed[name] = value.replace(found[0], self.between(caller, callee, address))
        return changed

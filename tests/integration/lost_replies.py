"""A Redis whose replies get lost: the connection is cut after it has run a command, or before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Cutter:
    """Passes connections on to Redis, but cuts them as `lose` says."""

    def __init__(self, redis_url: str) -> None:
        self._host, self._port = urlsplit(redis_url).hostname or "", urlsplit(redis_url).port or 0
        self._words: list[bytes] = []
        self._is_run = True

    def lose(self, *words: str, is_run: bool = True) -> None:
        """Lose the reply to the next command with the first word, then to the next one with the second. Not `is_run`:
        Redis does not get the command either.
        """
        self._words, self._is_run = [word.encode() for word in words], is_run

    @property
    def has_lost_all(self) -> bool:
        return not self._words

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection(self._host, self._port)
        lost = asyncio.Event()
        ways = [self._pass_requests(reader, redis_writer, lost), self._pass_replies(redis_reader, writer, lost)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            redis_writer.close()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        while request := await reader.read(1 << 16):
            if self._words and self._words[0] in request:
                if not self._is_run:
                    self._words.pop(0)
                    return
                lost.set()
            writer.write(request)

    async def _pass_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        """A reply may come in pieces, so that it is not waited for by turns with the requests."""
        while reply := await reader.read(1 << 16):
            # A script that Redis does not know yet has not run.
            if lost.is_set() and not reply.startswith(b"-NOSCRIPT"):
                self._words.pop(0)
                return
            lost.clear()
            writer.write(reply)


@contextlib.asynccontextmanager
async def lossy(redis_url: str) -> AsyncIterator[tuple[Cutter, str]]:
    """The cutter, and the URL that leads through it."""
    cutter = Cutter(redis_url)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield cutter, redis_url.replace(f":{urlsplit(redis_url).port}", f":{port}", 1)
    server.close()

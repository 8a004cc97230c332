"""The numbered writes of one writer of a stream: each is made once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.request_log.connection import Connection, Lost, Role

T = TypeVar("T")


class Writes:
    """begin, append and close of one writer. A write that is given again, because its reply did not come, keeps its number.

    `name` distinguishes the writer from others of its epoch.
    """

    def __init__(self, connection: Connection, request_id: str, role: Role, epoch: int, name: str) -> None:
        self._connection, self.request_id, self.role, self._epoch = connection, request_id, role, epoch
        self._name, self._number = name, 0
        self._last: tuple[Any, ...] = ()

    async def make(self, *write: Any) -> list[str]:
        """`write`: the command and its arguments. Raises Stopped, Fenced, Lost, Unavailable."""
        if write != self._last:
            self._last, self._number = write, self._number + 1
        command, *arguments = write
        try:
            return await self._connection.run_script(
                self.request_id, self.role, self._epoch, command, self._name, self._number, *arguments, repeats=True
            )
        except Lost:
            self._last = ()  # what is missing is written first, and then this as a new write
            raise


async def to_end(write: Coroutine[Any, Any, T]) -> T:
    """Wait for a write that has begun, also when the caller is cancelled: it may have been applied, and be counted twice."""
    task = asyncio.create_task(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise

"""A bounded number at once. Of those that wait, the lightest is next; where too many wait, the heaviest is sent away."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Busy(Exception):
    """Too many calls wait, or this machine is too busy for this one. Nothing is wrong with the call."""


class Turns:
    """For one event loop."""

    def __init__(self, places: int, max_waiting: int) -> None:
        self._free, self._max_waiting = places, max_waiting
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, weight: float) -> AsyncIterator[None]:
        """A place. Raises Busy where this is the heaviest of too many."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(weight)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, weight: float) -> None:
        place = asyncio.get_running_loop().create_future()
        waiter = (weight, next(self._numbers), place)
        insort(self._waiting, waiter)
        if len(self._waiting) > self._max_waiting:
            *_, heaviest = self._waiting.pop()
            heaviest.set_exception(Busy("too many wait"))
        try:
            await place
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not place.cancelled() and not place.exception():
                self._pass_on()  # the place came as the caller left
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            *_, place = self._waiting.pop(0)
            if not place.done():  # its caller has left, and takes itself off the list a moment later
                place.set_result(None)
                return
        self._free += 1

"""The caller's side: calls of the helper, a bounded number at once. Heavy ones never take the places of light ones.

Of those that wait, the lightest is next; where too many wait, the heaviest is sent away.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
from bisect import insort
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

_BOOT = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from services.shared.bounded.helper import main
main(*json.loads(sys.argv[2]))"""
_START_SECONDS = 20.0
"""More than a helper takes to load its modules on a busy machine."""


class Busy(Exception):
    """Too many calls wait, or this machine is too busy for this one. Nothing is wrong with the call."""


class PlaceQueue:
    """Places for one event loop."""

    def __init__(self, places: int, max_waiting: int) -> None:
        self._free, self._max_waiting = places, max_waiting
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def place(self, weight: float) -> AsyncIterator[None]:
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


class Refused(Exception):
    """The work's own reason, at most 500 characters."""


class TooCostly(Exception):
    """It takes more processor time or memory than it may."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one call: processor time, time by the clock, and memory beyond the helper's own.

    `places` calls of a weight up to `light` run at once, and `heavy_places` others; `max_waiting` and
    `max_heavy_waiting` wait.
    """

    cpu_seconds: int = 1
    wall_seconds: float = 10.0
    memory_bytes: int = 128 << 20
    light: float = 50.0
    places: int = 2
    heavy_places: int = 1
    max_waiting: int = 32
    max_heavy_waiting: int = 8


class BoundedCalls:
    """Calls from one event loop. The helper starts with the first call, with `modules` loaded, and ends with this
    process.
    """

    def __init__(self, modules: Sequence[str], bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._modules = list(modules)
        self._light = PlaceQueue(self.bounds.places, self.bounds.max_waiting)
        self._heavy = PlaceQueue(self.bounds.heavy_places, self.bounds.max_heavy_waiting)
        self._helper: subprocess.Popen[bytes] | None = None
        self._stream: socket.socket | None = None

    def place(self, weight: float) -> AbstractAsyncContextManager[None]:
        """Return the place that `run` needs. Raises Busy where this is the heaviest of too many."""
        return (self._light if weight <= self.bounds.light else self._heavy).place(weight)

    async def run(self, entry: str, text: str) -> int:
        """Call `entry` ("module:function") with `text`; the bytes of memory it took. Cancelling ends its process.

        Raises Refused where the function raises ValueError, TooCostly and Busy.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._started(), [b"\0"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise Busy(f"the helper takes no call: {error}") from error
        report = await self._report(ours, {"entry": entry, "text": text})
        if report["costly"]:
            raise TooCostly
        if report["refused"] is None:
            raise Busy(f"the machine is too busy: {self.bounds.wall_seconds:g} s were not enough")
        if report["refused"]:
            raise Refused(report["refused"])
        return int(report["bytes"])

    async def _report(self, call: socket.socket, order: dict[str, str]) -> dict[str, Any]:
        bounds = self.bounds
        limits = {name: getattr(bounds, name) for name in ("cpu_seconds", "wall_seconds", "memory_bytes")}
        reader, writer = await asyncio.open_unix_connection(sock=call)
        try:
            async with asyncio.timeout(_START_SECONDS + bounds.wall_seconds):
                writer.write(json.dumps({**order, **limits}).encode() + b"\n")
                line = await reader.readline()
        except TimeoutError:
            raise Busy("the helper does not answer") from None
        finally:
            writer.close()  # the supervisor sees it, and ends a worker that still runs
        if not line:
            raise Busy("the helper has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def _started(self) -> socket.socket:
        """Return the stream to a helper that runs."""
        if self._stream is not None and self._helper is not None and self._helper.poll() is None:
            return self._stream
        if self._stream is not None:
            self._stream.close()
        self._stream, theirs = socket.socketpair()
        order = json.dumps([theirs.fileno(), self._modules])
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, json.dumps(sys.path), order],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return self._stream

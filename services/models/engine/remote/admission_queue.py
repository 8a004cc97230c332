"""Admission for back ends that run on the caller's event loop: which requests run and which wait, and aborts of
both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from services.models.engine.api import (
    DuplicateRequest,
    EngineCounters,
    EngineLoad,
    EngineStopped,
    Finished,
    FinishReason,
    QueueFull,
    SchemaNotSupported,
    Stops,
    Token,
)
from services.models.engine.schema_findings import findings
from services.models.engine.text import StopStrings
from tandem.method.tokens import TokenCounts

Stream = Callable[[asyncio.Event], AsyncGenerator[Token | Finished, None]]
"""The tokens of a request and its Finished, which comes at once when the event is set."""


class AdmissionQueue:
    """`max_batch` requests run at once, `max_waiting` wait for a slot. `name`: the back end's, in errors."""

    def __init__(self, max_batch: int, max_waiting: int, name: str) -> None:
        self._max_batch, self._max_waiting, self._name = max_batch, max_waiting, name
        self._open: dict[str, asyncio.Event] = {}  # waiting or running, each with its abort
        self._num_running = 0
        self._slots: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: Future[None] | None = None
        self.is_open = False

    @property
    def load(self) -> EngineLoad:
        return EngineLoad(self._num_running, len(self._open) - self._num_running)

    async def run(
        self, request_id: str, stream: Stream, stops: Stops, json_schema: str, *, is_begun: bool
    ) -> AsyncGenerator[Token | Finished, None]:
        """The stream of a request once it has a slot. Its Finished comes when the slot is free again.

        A schema is tried first: these back ends hold only whole texts to one, and none that `is_begun`.
        Raises EngineStopped, DuplicateRequest, QueueFull, InvalidSchema, SchemaNotSupported, and what `stream` raises.
        """
        if json_schema:
            await findings().num_bytes(json_schema)
            if is_begun:
                raise SchemaNotSupported(
                    f"{self._name} holds only whole texts to a schema: it cannot go on from one that is begun"
                )
        end = Finished(FinishReason.ABORTED, TokenCounts(), "", time.time())
        text = StopStrings(stops.strings, stops.held)
        with self._admitted(request_id) as aborted:
            async with self._slot(aborted) as has_slot:
                if has_slot:
                    async with aclosing(stream(aborted)) as items:
                        async for item in items:
                            if isinstance(item, Finished):
                                end = item
                            else:
                                yield replace(item, text=text.push(item.text)) if stops.strings else item
                                if text.has_matched:
                                    aborted.set()
        yield _ended(end, text)

    @contextmanager
    def _admitted(self, request_id: str) -> Iterator[asyncio.Event]:
        """The event that aborts the request, for as long as the request is open."""
        load = self.load
        if not self.is_open:
            raise EngineStopped("the engine is not running")
        if request_id in self._open:
            raise DuplicateRequest(f"request {request_id!r} is running")
        if load.waiting >= self._max_waiting and load.running >= self._max_batch:
            raise QueueFull(f"{load.waiting} requests are waiting already")
        self._loop = asyncio.get_running_loop()
        aborted = self._open[request_id] = asyncio.Event()
        try:
            yield aborted
        finally:
            self._open.pop(request_id, None)

    @asynccontextmanager
    async def _slot(self, aborted: asyncio.Event) -> AsyncIterator[bool]:
        """Hold one of the slots. False: the abort came first."""
        self._slots = self._slots or asyncio.Semaphore(self._max_batch)
        acquiring = asyncio.ensure_future(self._slots.acquire())
        has_slot = False
        try:
            has_slot = await unless_aborted(acquiring, aborted)
            self._num_running += has_slot
            yield has_slot
        finally:
            self._num_running -= has_slot
            if acquiring.done() and not acquiring.cancelled():  # a cancel may come just after the slot was acquired
                self._slots.release()

    def abort(self, request_id: str) -> bool:
        aborted = self._open.get(request_id)
        if aborted is None or self._loop is None:
            return False
        self._loop.call_soon_threadsafe(aborted.set)
        return True

    def close(self, seconds: float, last: Callable[[], Awaitable[None]]) -> None:
        """Abort every request and admit none. When none is left, or after `seconds`, run `last`.

        Blocks until that is done, unless the caller runs in the requests' own event loop.
        """
        self.is_open = False
        for request_id in list(self._open):
            self.abort(request_id)
        if self._loop is None or not self._loop.is_running():
            return
        self._closing = asyncio.run_coroutine_threadsafe(self._close(seconds, last), self._loop)
        if not _runs_here(self._loop):
            self._closing.result()

    async def _close(self, seconds: float, last: Callable[[], Awaitable[None]]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    await asyncio.sleep(0.01)
        await last()


class QueuedModel:
    """What the models behind such a queue have in common."""

    def __init__(self, queue: AdmissionQueue) -> None:
        self._queue = queue
        self.counters = EngineCounters()

    @property
    def load(self) -> EngineLoad:
        return self._queue.load

    @property
    def is_alive(self) -> bool:
        return self._queue.is_open

    def abort(self, request_id: str) -> bool:
        return self._queue.abort(request_id)

    def _counted(self, end: Finished) -> Finished:
        """The end of a stream, once its tokens are in the counters."""
        self.counters.input_tokens += end.usage.prompt
        self.counters.output_tokens += end.usage.completion
        return end


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    with suppress(RuntimeError):
        return asyncio.get_running_loop() is loop
    return False


def _ended(end: Finished, stops: StopStrings) -> Finished:
    rest = stops.last(end.text, is_aborted=end.reason is FinishReason.ABORTED)
    return replace(end, reason=FinishReason.EOS if stops.has_matched else end.reason, text=rest)


async def unless_aborted(work: Any, aborted: asyncio.Event) -> bool:
    """Wait for `work`, or for the abort, which cancels it. True: the work was done first. Raises what `work` raises."""
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(aborted.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in (task, waiting):
            if not each.done():
                each.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)

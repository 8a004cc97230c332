"""Many generations through one engine: as many at once as it batches, results as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from services.engine.api import Engine, Finished, FinishReason, Generation, Usage


@dataclass(frozen=True, slots=True)
class Generated:
    """A whole generation. `ids` holds the stop token where there is one; `text` does not."""

    request_id: str
    ids: tuple[int, ...]
    text: str
    reason: FinishReason
    usage: Usage


async def generate(engine: Engine, generation: Generation) -> Generated:
    """One generation to its end. Raises what `Engine.generate` raises."""
    ids: list[int] = []
    text: list[str] = []
    async for item in engine.generate(generation):
        text.append(item.text)
        if isinstance(item, Finished):
            return Generated(generation.request_id, tuple(ids), "".join(text), item.reason, item.usage)
        ids.append(item.id)
    raise AssertionError("a stream ends with Finished")


async def generate_batch(engine: Engine, generations: Iterable[Generation], width: int) -> AsyncIterator[Generated]:
    """All `generations`, `width` at a time, in the order in which they end. Prompts that begin alike should be neighbours.

    `width` is best a little above the engine's `max_batch`, so that one is always waiting, and below what it lets wait.
    """
    waiting = iter(generations)
    running: set[asyncio.Task[Generated]] = set()
    try:
        while True:
            while len(running) < width and (generation := next(waiting, None)) is not None:
                running.add(asyncio.create_task(generate(engine, generation)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()

"""Whole texts, one or many at once, on top of a model's stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from services.models.engine.api import Engine, Finished, FinishReason, GenerationRequest, Token
from tandem.method.tokens import TokenCounts

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole text. `tokens`, and so `ids`, include the stop token where there is one; `text` does not."""

    tokens: tuple[Token, ...]
    text: str
    reason: FinishReason
    usage: TokenCounts

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)


async def generate(engine: Engine, generation: GenerationRequest) -> Completion:
    """Run one generation to its end. Raises what `Engine.generate` raises."""
    return await whole(engine.generate(generation))


async def whole(stream: AsyncGenerator[Token | Finished, None]) -> Completion:
    """What an engine or a writer streams, to its end. Raises what the stream raises."""
    tokens: list[Token] = []
    async with aclosing(stream) as items:
        async for item in items:
            if isinstance(item, Finished):
                text = "".join([*(token.text for token in tokens), item.text])
                return Completion(tuple(tokens), text, item.reason, item.usage)
            tokens.append(item)
    raise AssertionError("a stream ends with Finished")


async def run_all(
    work: Callable[[A], Coroutine[Any, Any, B]], items: Iterable[A], width: int
) -> AsyncGenerator[B, None]:
    """`work` on each item, `width` at a time; results in the order in which they end. Closing the generator cancels
    what runs.

    For generations, prompts with a common prefix should be neighbours, and `width` a little above the engine's
    `max_batch`, so that one request is always waiting, and below `max_batch + max_waiting`.
    """
    waiting = iter(items)
    running: set[asyncio.Task[B]] = set()
    try:
        while True:
            running |= {asyncio.create_task(work(item)) for item in islice(waiting, width - len(running))}
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.discard(task)
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)  # an error that nobody reads is logged as a traceback

"""The Engine protocol over an EngineCore in a thread of its own, whatever computes its passes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import abc
from concurrent.futures import Future

from services.models.engine.api import (
    EngineCounters,
    EngineLoad,
    Finished,
    GenerationRequest,
    PromptScores,
    PromptTooLong,
    Token,
)
from services.models.engine.grammar import Matcher
from services.models.engine.loop.core import EngineCore
from services.models.engine.loop.request_queue import ScoringJob
from services.models.engine.loop.runner import ModelRunner, ModelTokenizer
from services.models.engine.loop.sequence import Sequence
from services.models.engine.schema_findings import findings
from services.models.engine.settings import EngineSettings
from services.models.engine.text import Detokenizer


class ThreadedEngine:
    """An Engine (services.models.engine.api) but for its `info`. Its methods may be called from any thread."""

    continues_json = True

    def __init__(self, settings: EngineSettings, runner: ModelRunner) -> None:
        self._settings = settings
        self._core = EngineCore(settings, runner)
        self.counters: EngineCounters = self._core.counters
        self._thread: threading.Thread | None = None

    @property
    def tokenizer(self) -> ModelTokenizer:
        return self._core.tokenizer

    @property
    def load(self) -> EngineLoad:
        return EngineLoad(self._core.scheduler.num_running, self._core.queue.num_waiting)

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Returns when the model is loaded and warm. Raises OSError where `path` holds none."""
        started: Future[None] = Future()
        name = f"engine-{self._settings.name}"
        self._thread = threading.Thread(target=self._core.run, args=(started,), name=name, daemon=True)
        self._thread.start()
        started.result()

    def stop(self) -> None:
        self._core.queue.stop()
        if self._thread is not None:
            self._thread.join()

    async def generate(self, generation: GenerationRequest) -> abc.AsyncGenerator[Token | Finished, None]:
        if not generation.prompt_ids or generation.max_new_tokens < 0:
            raise ValueError("a generation needs a prompt, and a number of new tokens that is not negative")
        self._check_length(len(generation.prompt_ids) + generation.max_new_tokens, "prompt and answer")
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Token | Finished]()

        def deliver(item: Token | Finished) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop has closed, so nobody waits for the item
                loop.call_soon_threadsafe(items.put_nowait, item)

        is_resumed = generation.num_written > 0
        detokenizer = Detokenizer(self.tokenizer, generation.prompt_ids, is_resumed=is_resumed)
        sequence = Sequence(generation, deliver, detokenizer, await self._matcher(generation))
        self._core.queue.submit(sequence)
        try:
            while True:
                item = await items.get()
                if isinstance(item, Finished):
                    sequence.raise_failure()
                yield item
                if isinstance(item, Finished):
                    return
        finally:
            sequence.is_aborted = True  # not by its id, which another request may have by now
            self._core.end_unneeded_pass()

    def abort(self, request_id: str) -> bool:
        found = self._core.queue.abort(request_id)
        self._core.end_unneeded_pass()
        return found

    async def score(self, key: str, prompt_ids: abc.Sequence[int]) -> PromptScores:
        if len(prompt_ids) < 2:
            raise ValueError("a prompt to score has at least two tokens")
        self._check_length(len(prompt_ids), "prompt")
        job = ScoringJob(key, tuple(prompt_ids), Future())
        self._core.queue.submit_job(job)
        return await asyncio.wrap_future(job.scores)

    async def _matcher(self, generation: GenerationRequest) -> Matcher | None:
        if not generation.held_to or not generation.max_new_tokens:
            return None
        num_bytes = await findings().num_bytes(generation.held_to)
        grammars = self._core.grammars
        return await asyncio.to_thread(grammars.matcher, generation.held_to, generation.written, num_bytes)

    def _check_length(self, tokens: int, what: str) -> None:
        context_length = self._core.runner.model.context_length
        if tokens > context_length:
            raise PromptTooLong(f"{what} of {tokens} tokens exceed the context length of {context_length}")

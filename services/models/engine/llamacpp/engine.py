"""The llama.cpp back end: GGUF files as they are, on CPUs and on the GPUs that the installed wheel knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

from services.models.engine.api import ModelInfo, PromptScores
from services.models.engine.llamacpp.context import GrowingContext
from services.models.engine.llamacpp.library import BUILD
from services.models.engine.llamacpp.model import LlamaModel, folder_of, gguf_file
from services.models.engine.llamacpp.scoring import MAX_STEP, LlamaPromptScorer
from services.models.engine.llamacpp.vocabulary import identity
from services.models.engine.loop.prefix_cache import KeysValues
from services.models.engine.loop.request_queue import ScoringJob
from services.models.engine.loop.runner import Pass
from services.models.engine.loop.scheduler import ScheduledChunk
from services.models.engine.loop.threaded_engine import ThreadedEngine
from services.models.engine.settings import EngineSettings, from_arguments
from services.models.engine.tokenizer import FileTokenizer


class LlamaCppEngine(ThreadedEngine):
    """An Engine (services.models.engine.api) of a GGUF file, in the settings' path or that path itself, with its
    tokenizer beside it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._runner = LlamaRunner(settings)
        super().__init__(settings, self._runner)

    @property
    def info(self) -> ModelInfo:
        settings, model = self._settings, self._runner.model
        return ModelInfo(
            name=settings.name,
            revision=settings.revision,
            dtype=model.quantization,
            device=model.device,
            parameters=self._core.num_parameters,
            context_length=model.context_length,
            engine="llamacpp",
            engine_version=BUILD,
        )


def make(arguments: dict[str, Any]) -> LlamaCppEngine:
    """From the arguments of services.models.engine.registry."""
    return LlamaCppEngine(from_arguments(EngineSettings, arguments))


class LlamaRunner:
    """Generation and scoring each have keys and values of their own, which take memory when first needed. Only the
    engine's thread calls it.
    """

    model: LlamaModel

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.max_tokens = settings.kv_cache_tokens
        self.cache = LlamaRows(lambda: self._context)

    def load(self) -> None:
        """In the thread that computes: OpenMP has a pool for each such thread. Raises OSError where there is no
        model.
        """
        settings = self._settings
        self.model = LlamaModel(settings.path, settings.device, settings.kv_cache_tokens, repack=settings.repack)

    @property
    def identity(self) -> str:
        settings = self._settings
        return json.dumps([*identity(gguf_file(settings.path)), self.model.device, settings.repack])

    def tokenizer(self) -> FileTokenizer:
        """Raises OSError where the model has none."""
        return FileTokenizer.load(folder_of(self._settings.path))

    def stepping(self) -> AbstractContextManager[None]:
        return nullcontext()

    def warm_up(self) -> None:
        if self._settings.generates:
            _ = self._context

    def run(self, chunks: list[ScheduledChunk]) -> list[int]:
        """One pass over `chunks`, in rows 0, 1, ... of the cache: the next token of each that generates one, in their
        order.

        Raises Interrupted.
        """
        if not chunks:
            return []
        one = Pass.of(chunks)
        return one.next_tokens(self._context.run(one.chunks, one.tokens, one.ends))

    def interrupt(self) -> None:
        self._context.interrupt()

    def num_scored_together(self, jobs: list[ScoringJob]) -> int:
        return self._scorer.num_together([(job.key, job.ids) for job in jobs])

    def score(self, jobs: list[ScoringJob]) -> list[PromptScores]:
        return self._scorer.score([(job.key, job.ids) for job in jobs])

    def close(self) -> None:
        if "model" in vars(self):
            self.model.close()

    @cached_property
    def _context(self) -> GrowingContext:
        settings = self._settings
        make = partial(
            self.model.context,
            max_rows=settings.max_batch,
            max_step=settings.max_batch + settings.prefill_chunk,
            max_outputs=settings.max_batch,
            threads=settings.threads,
        )
        return GrowingContext(make, settings.kv_cache_tokens)

    @cached_property
    def _scorer(self) -> LlamaPromptScorer:
        make = partial(
            self.model.context,
            max_rows=1,
            max_step=MAX_STEP,
            max_outputs=MAX_STEP,
            threads=self._settings.threads,
            is_exact=True,
        )
        context = GrowingContext(make, self.model.context_length)
        return LlamaPromptScorer(context, self._settings.score_cache_bytes)


class LlamaRows:
    """services.models.engine.loop.scheduler.Rows, before the model is loaded."""

    def __init__(self, context: Callable[[], GrowingContext]) -> None:
        self._context = context

    def copy_row(self, source: int, target: int, length: int) -> None:
        self._context().copy_row(source, target, length)

    def extract(self, row: int, length: int) -> KeysValues:
        return self._context().extract(row, length)

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        self._context().insert(row, keys_values, length)

    def drop_row(self, row: int) -> None:
        self._context().drop_row(row)

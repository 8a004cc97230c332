"""llama.cpp as what computes an engine's passes. Only the engine's thread calls it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

from services.engine.api import PromptScores
from services.engine.file_tokenizer import FileTokenizer
from services.engine.llamacpp.context import LlamaContext
from services.engine.llamacpp.model import LlamaModel, folder_of
from services.engine.llamacpp.rows import LlamaRows
from services.engine.llamacpp.scoring import MAX_STEP, LlamaPromptScorer
from services.engine.loop.choosing import choose_tokens
from services.engine.loop.request_queue import ScoringJob
from services.engine.loop.scheduler import ScheduledChunk
from services.engine.loop.step import Step
from services.engine.settings import EngineSettings


class LlamaRunner:
    """Generation and scoring each have keys and values of their own, which take memory when first needed."""

    model: LlamaModel

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.max_tokens = settings.kv_cache_tokens
        self.cache = LlamaRows(lambda: self._context)

    def load(self) -> None:
        """In the thread that computes: OpenMP has a pool for each such thread. Raises OSError where there is no model."""
        settings = self._settings
        self.model = LlamaModel(settings.path, settings.device, settings.kv_cache_tokens, repack=settings.repack)

    def tokenizer(self) -> FileTokenizer:
        """Raises OSError where the model has none."""
        return FileTokenizer.load(folder_of(self._settings.path))

    def stepping(self) -> AbstractContextManager[None]:
        return nullcontext()

    def warm_up(self) -> None:
        if self._settings.generates:
            _ = self._context

    def run(self, chunks: list[ScheduledChunk]) -> list[int]:
        """One pass over `chunks`, in rows 0, 1, ... of the cache: the next token of each that generates one, in their order.

        Raises Interrupted.
        """
        if not chunks:
            return []
        step = Step.of(chunks)
        return choose_tokens(step.sequences, self._context.run(step.chunks, step.tokens, step.ends))

    def interrupt(self) -> None:
        self._context.interrupt.set()

    def num_scored_together(self, jobs: list[ScoringJob]) -> int:
        return self._scorer.num_together([(job.key, job.ids) for job in jobs])

    def score(self, jobs: list[ScoringJob]) -> list[PromptScores]:
        return self._scorer.score([(job.key, job.ids) for job in jobs])

    def close(self) -> None:
        if "model" in vars(self):
            self.model.close()

    @cached_property
    def _context(self) -> LlamaContext:
        settings = self._settings
        return self.model.context(
            max_tokens=settings.kv_cache_tokens,
            max_rows=settings.max_batch,
            max_step=settings.max_batch + settings.prefill_chunk,
            max_outputs=settings.max_batch,
            threads=settings.threads,
        )

    @cached_property
    def _scorer(self) -> LlamaPromptScorer:
        context = self.model.context(
            max_tokens=self.model.context_length,
            max_rows=1,
            max_step=MAX_STEP,
            max_outputs=MAX_STEP,
            threads=self._settings.threads,
            is_exact=True,
        )
        return LlamaPromptScorer(context, self._settings.score_cache_bytes)

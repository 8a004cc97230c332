"""The transformers back end: one model and its caches, for the passes that the scheduler chose, and scoring."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
import transformers
from torch import Tensor

from services.models.engine.api import ModelInfo, PromptScores
from services.models.engine.loop.request_queue import ScoringJob
from services.models.engine.loop.runner import Chunk, Pass
from services.models.engine.loop.scheduler import ScheduledChunk
from services.models.engine.loop.threaded_engine import ThreadedEngine
from services.models.engine.settings import EngineSettings, from_arguments
from services.models.engine.tokenizer import ChatTokenizer
from services.models.engine.torch_engine.kv_cache import KVCache
from services.models.engine.torch_engine.model import Checkpoint
from services.models.engine.torch_engine.scoring import PromptScorer
from services.models.engine.torch_engine.varlen import forward_varlen


class TransformersEngine(ThreadedEngine):
    """An Engine (services.models.engine.api) of a decoder-only transformers model with full attention."""

    def __init__(self, settings: EngineSettings) -> None:
        self._runner = Runner(settings)
        super().__init__(settings, self._runner)

    @property
    def info(self) -> ModelInfo:
        settings, model = self._settings, self._runner.model
        return ModelInfo(
            name=settings.name,
            revision=settings.revision,
            dtype=settings.dtype,
            device=str(model.device),
            parameters=self._core.num_parameters,
            context_length=model.context_length,
            engine="transformers",
            engine_version=transformers.__version__,
        )


def make(arguments: dict[str, Any]) -> TransformersEngine:
    """From the arguments of services.models.engine.registry."""
    return TransformersEngine(from_arguments(EngineSettings, arguments))


class Runner:
    """Only the engine's thread calls it."""

    identity = ""  # its tensors are not saved

    def __init__(self, settings: EngineSettings) -> None:
        self.cache = KVCache()
        self.max_tokens = sys.maxsize  # its rows grow as needed
        self._settings = settings

    def load(self) -> None:
        """In the thread that computes: OpenMP has a pool for each such thread, and lets no thread spin where the pools
        together have more threads than the machine has cores. Raises OSError where there is no model.
        """
        settings = self._settings
        torch.set_num_threads(settings.threads)
        self.model = Checkpoint(settings.path, settings.dtype, settings.device, settings.quantization)
        self._logits = self.model.logits_model()

    def tokenizer(self) -> ChatTokenizer:
        """Raises OSError where the model has none."""
        return ChatTokenizer.load(self._settings.path)

    def stepping(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def close(self) -> None:
        """Nothing: the model's memory is freed with this object."""

    def warm_up(self) -> None:
        """One pass over a token, so that the first request does not pay for allocations."""
        self._forward([Chunk(0, 0, 1)], [0], [0])

    def run(self, chunks: list[ScheduledChunk]) -> list[int]:
        """One pass over `chunks`, in rows 0, 1, ... of the cache: the next token of each that generates one, in their
        order.
        """
        if not chunks:
            return []
        one = Pass.of(chunks)
        return one.next_tokens(self._forward(one.chunks, one.tokens, one.ends).cpu().numpy())

    def interrupt(self) -> None:
        """A pass of PyTorch ends by itself."""

    def num_scored_together(self, jobs: list[ScoringJob]) -> int:
        """How many of the first `jobs` are best scored in one pass."""
        return self._scorer.num_together([(job.key, job.ids) for job in jobs])

    def score(self, jobs: list[ScoringJob]) -> list[PromptScores]:
        return self._scorer.score([(job.key, job.ids) for job in jobs])

    @cached_property
    def _scorer(self) -> PromptScorer:
        layers, head = self.model.hidden_states_model()
        return PromptScorer(layers, head, self.model.num_layers, self._settings.score_cache_bytes)

    def _forward(self, chunks: list[Chunk], tokens: list[int], ends: list[int]) -> Tensor:
        """The logits at the tokens of indices `ends`, float32[ends, vocabulary]."""
        device = self.model.device
        wanted = torch.tensor(ends, dtype=torch.long, device=device)
        logits: Tensor = forward_varlen(self._logits, self.cache, chunks, tokens, device, wanted)
        return logits.float()

"""What all scoring passes have in common: texts that grow, of which only the new tokens are computed.

A later stage's prompt begins with the earlier one's. Where it does not (a retried attempt generated other text), the
common prefix is reused and the rest computed again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.models.engine.api import PromptScores
from services.models.engine.loop.prefix_cache import LRUCache, common_prefix, num_bytes
from tandem.method.tokens import TokenCounts

_MAX_NEW_TOKENS = 512  # of jobs in one pass: a longer pass is no faster per token, and delays the first job


@dataclass(slots=True)
class ScoredText:
    """What is cached for one key: the tokens so far, their keys and values, the results, and what predicts the next
    token.
    """

    ids: list[int] = field(default_factory=list)
    keys_values: Any = field(default_factory=list)
    last: Any = None
    states: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    logprobs: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    entropies: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def num_bytes(self) -> int:
        return num_bytes(self.keys_values)

    def rewind(self, ids: Sequence[int]) -> int:
        """Cut back to the common prefix with `ids`; returns how many tokens stay.

        The last common token is computed again, because what predicts its successor is not cached; the
        scores of the token itself are.
        """
        shared = common_prefix(self.ids, ids)
        if shared == len(self.ids):
            return shared
        stays = max(0, shared - 1)
        self.last = None
        del self.ids[stays:]
        self.logprobs, self.entropies = self.logprobs[:stays], self.entropies[:stays]
        self.states = self.states[:stays]
        return stays


class IncrementalScorer(ABC):
    """Caches the most recently scored texts within `max_bytes` of keys and values."""

    def __init__(self, max_bytes: int) -> None:
        self._texts: LRUCache[ScoredText] = LRUCache(max_bytes)

    def score(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> list[PromptScores]:
        """Log-probabilities and entropies of each job's `ids[1:]`, in one pass. No two jobs have the same key.

        `usage` says how many tokens were computed and how many were cached.
        """
        texts = [self._texts.pop(key) or ScoredText() for key, _ in jobs]
        cached = [text.rewind(ids) for text, (_, ids) in zip(texts, jobs, strict=True)]
        new = [list(ids[n:]) for n, (_, ids) in zip(cached, jobs, strict=True)]
        if growing := [(text, tokens) for text, tokens in zip(texts, new, strict=True) if tokens]:
            self._extend(*zip(*growing, strict=True))
        for text, (key, _) in zip(texts, jobs, strict=True):
            self._texts.put(key, text)
        return [
            PromptScores(text.logprobs, text.entropies, text.states, TokenCounts(prompt=len(tokens), cached=n))
            for text, tokens, n in zip(texts, new, cached, strict=True)
        ]

    def num_together(self, jobs: Sequence[tuple[str, Sequence[int]]]) -> int:
        """How many of the first `jobs` are best scored in one pass: not too many new tokens, and no key twice."""
        keys: set[str] = set()
        tokens = 0
        for key, ids in jobs:
            text = self._texts.get(key)
            tokens += len(ids) - (common_prefix(text.ids, ids) if text else 0)
            if keys and (key in keys or tokens > _MAX_NEW_TOKENS):
                break
            keys.add(key)
        return len(keys)

    def num_bytes(self) -> int:
        return self._texts.num_bytes()

    @abstractmethod
    def _extend(self, texts: Sequence[ScoredText], new: Sequence[list[int]]) -> None:
        """Compute the `new` tokens of each text."""

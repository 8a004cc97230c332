"""The scoring pass on llama.cpp: exact log-probabilities and entropies of the model as it is quantized.

llama.cpp computes the logits of some tokens of a pass; from them both follow, in float32, in nats. It returns no hidden
states of a layer, so `PromptScores.states` is empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.models.engine.llamacpp.context import GrowingContext
from services.models.engine.loop.incremental_scorer import IncrementalScorer, ScoredText
from services.models.engine.loop.runner import Chunk

MAX_STEP = 64  # tokens at once: their logits over 150,000 words are 40 MB
_ROW = 0

Logits = NDArray[np.float32]


class LlamaPromptScorer(IncrementalScorer):
    """Scores one text after the other."""

    def __init__(self, context: GrowingContext, max_bytes: int) -> None:
        """`context` has passes of MAX_STEP tokens with as many outputs."""
        super().__init__(max_bytes)
        self._context = context

    def _extend(self, texts: Sequence[ScoredText], new: Sequence[list[int]]) -> None:
        for text, tokens in zip(texts, new, strict=True):
            if text.ids:
                self._context.insert(_ROW, text.keys_values, len(text.ids))
            for start in range(0, len(tokens), MAX_STEP):
                self._compute(text, tokens[start : start + MAX_STEP])
            text.keys_values = self._context.extract(_ROW, len(text.ids))
            self._context.drop_row(_ROW)

    def _compute(self, text: ScoredText, tokens: list[int]) -> None:
        """Row i of the logits predicts token i + 1: the last one of the text so far comes first, the new last one is
        stored.
        """
        logits = self._context.run([Chunk(_ROW, len(text.ids), len(tokens))], tokens, range(len(tokens)))
        last = logits[-1:].copy()
        if text.last is not None:
            self._add(text, text.last, tokens[:1])
        self._add(text, logits[:-1], tokens[1:])
        text.last = last
        text.ids.extend(tokens)

    @staticmethod
    def _add(text: ScoredText, logits: Logits, targets: list[int]) -> None:
        logprobs, entropies = logits_statistics(logits, targets)
        text.logprobs = np.append(text.logprobs, logprobs)
        text.entropies = np.append(text.entropies, entropies)


def logits_statistics(logits: Logits, targets: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-probability of each target and entropy of its distribution, float32[n] each, in nats.

    `logits` is float32[n, vocabulary], and is changed. With z less its maximum: log p = z_target - log Z, H = log Z -
    E[z].
    """
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(len(logits)), np.array(targets, np.int64)]
    weights = np.exp(logits)
    total = weights.sum(axis=1)
    expected = np.einsum("nv,nv->n", weights, logits) / total
    return chosen - np.log(total), np.log(total) - expected

"""What one scoring pass has seen of a question and its insight: all that a scorer may judge by. Training and serving."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.engine.api import PromptScores
from services.sufficiency_scorer.features import features, pooled
from services.sufficiency_scorer.words import words
from tandem.method.prompts import Prompt


@dataclass(frozen=True, slots=True)
class Evidence:
    """`stage` is how many stages the insight has, `tokens` the length of the whole prompt.

    `features` float32[16] in the order of NAMES; `states` float32[2 d], pooled hidden states, empty where the engine
    gives none; `words` float32[WIDTH], what the question itself shows (words.py).
    """

    stage: int
    tokens: int
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def of(cls, scoring: PromptScores, prompt: Prompt, stage: int, question: str) -> Evidence:
        begin = max(0, prompt.span_start - 1)  # entry i of a scoring is token i + 1
        return cls(
            stage,
            len(prompt.ids),
            features(scoring.logprobs[begin:], scoring.entropies[begin:]),
            pooled(scoring.states) if len(scoring.states) else np.empty(0, np.float32),
            words(question),
        )

    @classmethod
    def unread(cls, question: str, stage: int) -> Evidence:
        """Without a scoring pass: neither features nor states."""
        nothing = np.empty(0, np.float32)
        return cls(stage, 0, nothing, nothing, words(question))


@dataclass(frozen=True, slots=True)
class EvidenceBatch:
    """Evidence of n passes, for a network: `stage` int64[n], `tokens` float32[n], `features` [n, 16], `states` [n, 2 d],
    `words` [n, WIDTH].
    """

    stage: NDArray[np.int64]
    tokens: NDArray[np.float32]
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def single(cls, evidence: Evidence) -> EvidenceBatch:
        return cls(
            np.array([evidence.stage]),
            np.array([evidence.tokens], np.float32),
            evidence.features[None],
            evidence.states[None],
            evidence.words[None],
        )

    def plus(self, more: EvidenceBatch) -> EvidenceBatch:
        return EvidenceBatch(*(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self)))

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> EvidenceBatch:
        return EvidenceBatch(*(getattr(self, f.name)[rows] for f in fields(self)))

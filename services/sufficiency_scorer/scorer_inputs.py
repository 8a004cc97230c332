"""The inputs of a scorer, for one scoring pass and for a batch. Training and serving share this definition."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.engine.api import PromptScores
from services.sufficiency_scorer.bag_of_words import bag_of_words
from services.sufficiency_scorer.features import features, pool_states
from tandem.method.prompts import Prompt


@dataclass(frozen=True, slots=True)
class ScorerInputs:
    """Everything that a scorer may use. The field names are the input names of the artefact format (network.Input).

    `stage` is the number of stages in the insight, `tokens` the length of the whole prompt. `features` float32[16] in the
    order of NAMES; `states` float32[2 d], pooled hidden states, empty where the engine provides none; `words`
    float32[WIDTH], the question's bag of words.
    """

    stage: int
    tokens: int
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def of(cls, scores: PromptScores, prompt: Prompt, stage: int, question: str) -> ScorerInputs:
        """Inputs from a scoring pass over `prompt`, from the question's first token on."""
        begin = max(0, prompt.span_start - 1)  # entry i belongs to token i + 1
        return cls(
            stage,
            len(prompt.ids),
            features(scores.logprobs[begin:], scores.entropies[begin:]),
            pool_states(scores.states) if len(scores.states) else np.empty(0, np.float32),
            bag_of_words(question),
        )

    @classmethod
    def without_pass(cls, question: str, stage: int) -> ScorerInputs:
        """Inputs for a scorer that needs no scoring pass: `features` and `states` are empty, `tokens` is 0."""
        empty = np.empty(0, np.float32)
        return cls(stage, 0, empty, empty, bag_of_words(question))


@dataclass(frozen=True, slots=True)
class ScorerInputsBatch:
    """Inputs of n passes: `stage` int64[n], `tokens` float32[n], `features` [n, 16], `states` [n, 2 d], `words` [n, WIDTH]."""

    stage: NDArray[np.int64]
    tokens: NDArray[np.float32]
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    words: NDArray[np.float32]

    @classmethod
    def single(cls, inputs: ScorerInputs) -> ScorerInputsBatch:
        return cls(
            np.array([inputs.stage]),
            np.array([inputs.tokens], np.float32),
            inputs.features[None],
            inputs.states[None],
            inputs.words[None],
        )

    def concat(self, other: ScorerInputsBatch) -> ScorerInputsBatch:
        return ScorerInputsBatch(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> ScorerInputsBatch:
        return ScorerInputsBatch(*(getattr(self, f.name)[rows] for f in fields(self)))

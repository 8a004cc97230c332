"""The inputs of a scorer, for one scoring pass and for a batch. Training and serving share these definitions.

The paper's 16 features are statistics of per-token perplexity and entropy (docs/method.md, Features). The bag of words
of a question, hashed, and its surface counts need no model.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.models.engine.api import PromptScores
from tandem.method.request.prompts import Prompt

_TREND_TOKENS = 20
MAX_NLL = 20.0  # nats; exp(20) keeps the statistics within float32
_TOKEN = re.compile(r"[a-z]+|\d+|[\\$%/=^+*<>]")
_NUMBER = re.compile(r"\d+")
_HASHED_NORM = 5.0  # the counts beside the hashed part are standardised; at norm 1 it would carry too little weight


def _trend(values: NDArray[np.float64]) -> float:
    return float(values[-_TREND_TOKENS:].mean() - values[:_TREND_TOKENS].mean())


def _largest_number(question: str) -> float:
    return math.log1p(max((float(number[:15]) for number in _NUMBER.findall(question)), default=0.0))


STATISTICS: Mapping[str, Callable[[NDArray[np.float64]], float]] = {
    "mean": np.mean,
    "std": np.std,
    "median": np.median,
    "max": np.max,
    "min": np.min,
    "p25": lambda values: float(np.percentile(values, 25)),
    "p75": lambda values: float(np.percentile(values, 75)),
    "trend": _trend,
}
"""Of a quantity of each token, float64[n], n >= 1: one column of the features each, in training and serving. A scorer
that was trained on other columns is refused.
"""
NAMES = tuple(f"{quantity}_{statistic}" for quantity in ("perplexity", "entropy") for statistic in STATISTICS)
COUNTS: Mapping[str, Callable[[str], float]] = {
    "characters": lambda question: math.log1p(len(question)),
    "words": lambda question: math.log1p(len(question.split())),
    "sentences": lambda question: question.count("."),
    "numbers": lambda question: len(_NUMBER.findall(question)),
    "largest_number": _largest_number,
    "dollars": lambda question: question.count("$"),
    "backslashes": lambda question: question.count("\\"),
    "percents": lambda question: question.count("%"),
    "slashes": lambda question: question.count("/"),
}
"""Of a question: the columns behind its hashed words."""
BUCKETS = 512
WIDTH = BUCKETS + len(COUNTS)


def features(logprobs: NDArray[np.float32], entropies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute float32[16], in the order of NAMES, from float32[n] log-probabilities and entropies in nats, n >= 1.

    The perplexity of a token is exp(-log p), with -log p capped at 20 nats. Raises ValueError for empty or unequal
    inputs.
    """
    if len(logprobs) == 0 or len(logprobs) != len(entropies):
        raise ValueError(
            f"need at least one log-probability and as many entropies, got {len(logprobs)} and {len(entropies)}"
        )
    nll = np.minimum(-logprobs.astype(np.float64), MAX_NLL)
    quantities = (np.exp(nll), entropies.astype(np.float64))
    return np.array([compute(each) for each in quantities for compute in STATISTICS.values()], np.float32)


def log_compress(raw: NDArray[Any]) -> NDArray[Any]:
    """Return sign(x) * log(1 + |x|), same shape and dtype: perplexities span eight orders of magnitude."""
    compressed: NDArray[Any] = np.sign(raw) * np.log1p(np.abs(raw))
    return compressed


def pool_states(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pool hidden states float32[n, d] to float32[2 d]: their mean, then the last token's."""
    return np.concatenate([states.mean(axis=0), states[-1]])


def bag_of_words(question: str) -> NDArray[np.float32]:
    """Compute float32[WIDTH]: BUCKETS hashed columns, then COUNTS.

    Unigrams and bigrams, weighted by 1 + log(count), are hashed with a sign (feature hashing, Weinberger et al. 2009)
    and scaled to a common norm. A number enters by its length only, so that its value cannot be memorised.
    """
    tokens = ["#" * len(t) if t.isdigit() else t for t in _TOKEN.findall(question.lower())]
    hashed = np.zeros(BUCKETS, np.float32)
    for token, count in Counter([*tokens, *(f"{a} {b}" for a, b in pairwise(tokens))]).items():
        digest = zlib.crc32(token.encode())
        hashed[digest % BUCKETS] += (1 if digest >> 31 else -1) * (1 + math.log(count))
    hashed *= _HASHED_NORM / max(float(np.linalg.norm(hashed)), 1e-6)
    return np.concatenate([hashed, np.array([count(question) for count in COUNTS.values()], np.float32)])


@dataclass(frozen=True, slots=True)
class ScorerInputs:
    """Everything that a scorer may use. The field names are the input names of the artefact format (network.Input).

    `stage` is the number of stages in the insight, `tokens` the length of the whole prompt. `features` float32[16] in
    the order of NAMES; `states` float32[2 d], pooled hidden states, empty where the engine provides none; `words`
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
    """Inputs of n passes: `stage` int64[n], `tokens` float32[n], `features` [n, 16], `states` [n, 2 d], `words` [n,
    WIDTH].
    """

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

"""The 16 features of METHOD 1: statistics of perplexity and entropy per token. One definition, training and serving."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("mean", "std", "median", "max", "min", "p25", "p75", "trend")
NAMES = tuple(f"{quantity}_{statistic}" for quantity in ("perplexity", "entropy") for statistic in STATISTICS)
_TREND_TOKENS = 20
_LARGEST_SURPRISE = 20.0  # nats; exp(20) is as surprised as float32 statistics can bear


def features(logprobs: NDArray[np.float32], entropies: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[16] in the order of NAMES, from log-probabilities and entropies (float32[n], nats) of n >= 1 tokens.

    Perplexity of a token is exp(-log p), with -log p capped at 20 nats.
    """
    if len(logprobs) == 0 or len(logprobs) != len(entropies):
        raise ValueError(f"need as many log-probabilities as entropies and at least one, got {len(logprobs)}")
    surprise = np.minimum(-logprobs.astype(np.float64), _LARGEST_SURPRISE)
    return np.array([*_statistics(np.exp(surprise)), *_statistics(entropies.astype(np.float64))], np.float32)


def compress(raw: NDArray[Any]) -> NDArray[Any]:
    """Signed log of features, of the same shape and dtype: perplexities span eight orders of magnitude."""
    compressed: NDArray[Any] = np.sign(raw) * np.log1p(np.abs(raw))
    return compressed


def pooled(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a probe reads of hidden states float32[n, d]: their mean and the last one, float32[2 d]."""
    return np.concatenate([states.mean(axis=0), states[-1]])


def _statistics(values: NDArray[np.float64]) -> list[float]:
    p25, median, p75 = np.percentile(values, [25, 50, 75])
    trend = values[-_TREND_TOKENS:].mean() - values[:_TREND_TOKENS].mean()
    return [values.mean(), values.std(), median, values.max(), values.min(), p25, p75, trend]

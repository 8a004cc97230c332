"""The paper's 16 features: statistics of per-token perplexity and entropy (docs/method.md, Features).

Training and serving share this definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("mean", "std", "median", "max", "min", "p25", "p75", "trend")
NAMES = tuple(f"{quantity}_{statistic}" for quantity in ("perplexity", "entropy") for statistic in STATISTICS)
_TREND_TOKENS = 20
_MAX_NLL = 20.0  # nats; exp(20) keeps the statistics within float32


def features(logprobs: NDArray[np.float32], entropies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute float32[16], in the order of NAMES, from float32[n] log-probabilities and entropies in nats, n >= 1.

    The perplexity of a token is exp(-log p), with -log p capped at 20 nats. Raises ValueError for empty or unequal inputs.
    """
    if len(logprobs) == 0 or len(logprobs) != len(entropies):
        raise ValueError(
            f"need at least one log-probability and as many entropies, got {len(logprobs)} and {len(entropies)}"
        )
    nll = np.minimum(-logprobs.astype(np.float64), _MAX_NLL)
    return np.array([*_statistics(np.exp(nll)), *_statistics(entropies.astype(np.float64))], np.float32)


def log_compress(raw: NDArray[Any]) -> NDArray[Any]:
    """Return sign(x) * log(1 + |x|), same shape and dtype: perplexities span eight orders of magnitude."""
    compressed: NDArray[Any] = np.sign(raw) * np.log1p(np.abs(raw))
    return compressed


def pool_states(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pool hidden states float32[n, d] to float32[2 d]: their mean, then the last token's."""
    return np.concatenate([states.mean(axis=0), states[-1]])


def _statistics(values: NDArray[np.float64]) -> list[float]:
    p25, median, p75 = np.percentile(values, [25, 50, 75])
    trend = values[-_TREND_TOKENS:].mean() - values[:_TREND_TOKENS].mean()
    return [values.mean(), values.std(), median, values.max(), values.min(), p25, p75, trend]

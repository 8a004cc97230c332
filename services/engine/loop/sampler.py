"""Drawing a token by a request's own temperature, nucleus and seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tandem.method.sampling import Sampling

_MIN_TEMPERATURE = 1e-30  # at which a difference of two float32 does not become infinite


class Sampler:
    """The draws depend on the seed and the logits alone, not on other sequences of the batch."""

    def __init__(self, sampling: Sampling) -> None:
        """`sampling.temperature` is above 0."""
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def draw(self, logits: NDArray[np.float32]) -> int:
        """A token from `logits`, float32[vocabulary], by nucleus sampling."""
        scaled = (logits - logits.max()).astype(np.float64) / max(self._sampling.temperature, _MIN_TEMPERATURE)
        probabilities = np.exp(scaled)
        probabilities /= probabilities.sum()
        # All tokens below this together have less than 1 - top_p, so the nucleus has none of them: few are left to sort.
        least = (1 - self._sampling.top_p) / len(logits)
        candidates = np.flatnonzero(probabilities >= least)
        is_cut = self._sampling.top_p < 1
        order = candidates[np.argsort(-probabilities[candidates], kind="stable")] if is_cut else candidates
        sums = probabilities[order].cumsum()
        nucleus = sums[: np.searchsorted(sums, self._sampling.top_p) + 1]
        return int(order[np.searchsorted(nucleus, self._random.random() * nucleus[-1], side="right")])

"""Drawing a token by a request's own temperature, nucleus and seed."""

from __future__ import annotations

import torch
from torch import Tensor

from tandem.method.sampling import Sampling

_MIN_TEMPERATURE = 1e-30  # a float32 that does not round to 0


class Sampler:
    """The draws depend on the seed and the logits alone, not on other sequences of the batch."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        """`sampling.temperature` is above 0; `device` is that of the logits."""
        self._sampling = sampling
        self._random = torch.Generator(device=device).manual_seed(sampling.seed)

    def draw(self, logits: Tensor) -> int:
        """A token from `logits`, float32[vocabulary], by nucleus sampling."""
        # The largest becomes 0 before the division, which overflows at a temperature near 0.
        scaled = (logits - logits.max()) / max(self._sampling.temperature, _MIN_TEMPERATURE)
        probabilities, order = torch.softmax(scaled, dim=-1).sort(descending=True)
        outside = probabilities.cumsum(dim=-1) - probabilities > self._sampling.top_p
        nucleus = probabilities.masked_fill(outside, 0.0)
        choice = torch.multinomial(nucleus, 1, generator=self._random)
        return int(order[choice])

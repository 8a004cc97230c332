"""The sufficiency network: chosen inputs -> standardised -> a small MLP -> a calibrated probability (docs/method.md, Scorer).

One class serves all kinds: without hidden layers it is a logistic regression, with hidden layers of 64 and 32 on the 16
features the paper's MLP, with hidden states among the inputs a probe. Float32; a score takes microseconds on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.sufficiency_scorer.features import log_compress
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch
from services.sufficiency_scorer.shape import Shape


class SufficiencyNetwork(nn.Module):
    """Logit of sufficiency, float32[n], from a batch of inputs; calibrated by a slope and an offset (Platt 1999).

    The names of buffers and layers are the keys of `scorer.safetensors`.
    """

    mean: Tensor
    spread: Tensor
    projection: Tensor
    slope: Tensor
    offset: Tensor

    layers: nn.Sequential

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape.width))
        self.register_buffer("spread", torch.ones(shape.width))
        self.register_buffer("projection", torch.zeros(shape.states, shape.components))
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))
        layers: list[nn.Module] = []
        width = shape.width
        for hidden in shape.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(shape.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, columns: Tensor) -> Tensor:
        """Uncalibrated logits float32[n] from `columns(batch)`."""
        logits: Tensor = self.layers((columns - self.mean) / self.spread)
        return logits[:, 0]

    def columns(self, batch: ScorerInputsBatch) -> Tensor:
        """The inputs concatenated, float32[n, width], not standardised."""
        columns_of = {
            "features": lambda: torch.from_numpy(log_compress(batch.features)),
            "stage": lambda: nn.functional.one_hot(torch.from_numpy(batch.stage), self.shape.stages).float(),
            "tokens": lambda: torch.from_numpy(batch.tokens).log()[:, None],
            "states": lambda: torch.from_numpy(batch.states) @ self.projection,
            "words": lambda: torch.from_numpy(batch.words),
        }
        return torch.cat([columns_of[name]() for name in self.shape.inputs], dim=1)

    @torch.inference_mode()
    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        """Uncalibrated logits float64[n], without dropout."""
        return self.eval()(self.columns(batch)).double().numpy()  # type: ignore[no-any-return]

    def probabilities(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        """Calibrated probabilities float64[n]."""
        return 1 / (1 + np.exp(-(float(self.slope) * self.logits(batch) + float(self.offset))))

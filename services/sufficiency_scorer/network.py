"""The sufficiency network: chosen inputs -> standardised -> a small MLP -> a calibrated probability (docs/method.md, Scorer).

One class serves all kinds: without hidden layers it is a logistic regression, with hidden layers of 64 and 32 on the 16
features the paper's MLP, with hidden states among the inputs a probe. Float32; a score takes microseconds on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.sufficiency_scorer.bag_of_words import BUCKETS, WIDTH
from services.sufficiency_scorer.features import NAMES, log_compress
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch

Input = Literal["features", "stage", "tokens", "states", "words"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Layout of a network. `stages` counts stage 0 too. `states` is 2 d, projected to `components` directions; both are 0
    if hidden states are no input."""

    inputs: tuple[Input, ...]
    stages: int
    states: int = 0
    components: int = 0
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    @property
    def width(self) -> int:
        return sum(self._widths[name] for name in self.inputs)

    @property
    def is_standardised(self) -> list[bool]:
        """Per column; the hashed words keep their common scale."""
        words = [False] * BUCKETS + [True] * (WIDTH - BUCKETS)
        return [s for name in self.inputs for s in (words if name == "words" else [True] * self._widths[name])]

    def columns_of(self, name: Input) -> slice:
        """The columns of one input."""
        before = sum(self._widths[each] for each in self.inputs[: self.inputs.index(name)])
        return slice(before, before + self._widths[name])

    @property
    def needs_pass(self) -> bool:
        """Whether any input comes from a scoring pass of the small model."""
        return any(name in ("features", "tokens", "states") for name in self.inputs)

    @property
    def _widths(self) -> dict[str, int]:
        return {
            "features": len(NAMES),
            "stage": self.stages,
            "tokens": 1,
            "states": self.components,
            "words": WIDTH,
        }


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

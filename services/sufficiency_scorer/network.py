"""A trained sufficiency model: some of the evidence -> standardised -> a small network -> a calibrated probability.

One definition for all of them: without hidden layers it is a logistic regression, with the paper's 64 and 32 on the 16
features its MLP (METHOD 1), with hidden states among the inputs a probe. Float32, runs in microseconds on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.sufficiency_scorer.evidence import EvidenceBatch
from services.sufficiency_scorer.features import NAMES, compress
from services.sufficiency_scorer.words import HASHED, WIDTH

Input = Literal["features", "stage", "tokens", "states", "words"]


@dataclass(frozen=True, slots=True)
class Shape:
    """`stages` counts stage 0 too; `states` is 2 d, of which `components` directions are read; 0 where they are no input."""

    inputs: tuple[Input, ...]
    stages: int
    states: int = 0
    components: int = 0
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Shape:
        return cls(**{**fields, "inputs": tuple(fields["inputs"]), "hidden": tuple(fields["hidden"])})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def width(self) -> int:
        return sum(self._widths[name] for name in self.inputs)

    @property
    def standardised(self) -> list[bool]:
        """Of each column; hashed words keep their common scale."""
        hashed = [False] * HASHED + [True] * (WIDTH - HASHED)
        return [s for name in self.inputs for s in (hashed if name == "words" else [True] * self._widths[name])]

    def columns_of(self, name: Input) -> slice:
        """Where an input lies among the columns."""
        before = sum(self._widths[each] for each in self.inputs[: self.inputs.index(name)])
        return slice(before, before + self._widths[name])

    @property
    def needs_pass(self) -> bool:
        """Whether the small model has to read the prompt for it."""
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
    """Logit of sufficiency, float32[n], from a batch of evidence; calibrated by a slope and an offset (Platt)."""

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
        """Raw logits, from `columns(batch)`."""
        logits: Tensor = self.layers((columns - self.mean) / self.spread)
        return logits[:, 0]

    def columns(self, batch: EvidenceBatch) -> Tensor:
        """The inputs side by side, float32[n, width], not yet standardised."""
        made = {
            "features": lambda: torch.from_numpy(compress(batch.features)),
            "stage": lambda: nn.functional.one_hot(torch.from_numpy(batch.stage), self.shape.stages).float(),
            "tokens": lambda: torch.from_numpy(batch.tokens).log()[:, None],
            "states": lambda: torch.from_numpy(batch.states) @ self.projection,
            "words": lambda: torch.from_numpy(batch.words),
        }
        return torch.cat([made[name]() for name in self.shape.inputs], dim=1)

    @torch.inference_mode()
    def logits(self, batch: EvidenceBatch) -> NDArray[np.float64]:
        """Raw logits float64[n], without dropout."""
        return self.eval()(self.columns(batch)).double().numpy()  # type: ignore[no-any-return]

    def probabilities(self, batch: EvidenceBatch) -> NDArray[np.float64]:
        """Calibrated, float64[n] in 0..1."""
        return 1 / (1 + np.exp(-(float(self.slope) * self.logits(batch) + float(self.offset))))

"""The sufficiency network: chosen inputs -> standardised -> a small MLP -> a calibrated probability (docs/method.md,
Scorer).

One class serves all kinds: without hidden layers it is a logistic regression, with hidden layers of 64 and 32 on the 16
features the paper's MLP, with hidden states among the inputs a probe. Float32; a score takes microseconds on a CPU.
Only numpy: a scorer whose engine is not transformers needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.scorer_inputs import BUCKETS, NAMES, WIDTH, ScorerInputsBatch, log_compress

Input = Literal["features", "stage", "tokens", "states", "words"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Layout of a network. `stages` counts stage 0 too. `states` is 2 d, projected to `components` directions; both are
    0 if hidden states are no input.
    """

    inputs: tuple[Input, ...]
    stages: int
    states: int = 0
    components: int = 0
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    @property
    def width(self) -> int:
        return sum(INPUTS[name].width(self) for name in self.inputs)

    @property
    def layers(self) -> list[str]:
        """Names of the linear layers. In training two others follow each hidden one (lab.training.estimators)."""
        return [f"layers.{3 * number}" for number in range(len(self.hidden) + 1)]

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of a network, by name."""
        sizes: dict[str, tuple[int, ...]] = {
            "mean": (self.width,),
            "spread": (self.width,),
            "projection": (self.states, self.components),
            "slope": (),
            "offset": (),
        }
        widths = (self.width, *self.hidden, 1)
        for layer, read, written in zip(self.layers, widths[:-1], widths[1:], strict=True):
            sizes |= {f"{layer}.weight": (written, read), f"{layer}.bias": (written,)}
        return sizes

    @property
    def is_standardised(self) -> list[bool]:
        """Tell for each column whether it is standardised."""
        return [number >= INPUTS[name].num_raw for name in self.inputs for number in range(INPUTS[name].width(self))]

    def columns_of(self, name: Input) -> slice:
        """Return the columns of one input."""
        before = sum(INPUTS[each].width(self) for each in self.inputs[: self.inputs.index(name)])
        return slice(before, before + INPUTS[name].width(self))

    @property
    def needs_pass(self) -> bool:
        """Whether any input comes from a scoring pass of the small model."""
        return any(INPUTS[name].needs_pass for name in self.inputs)


Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SufficiencyNetwork:
    """Logit of sufficiency, float64[n], from a batch of inputs; calibrated by a slope and an offset (Platt 1999).

    `arrays` are those of `scorer.safetensors`, by name (Shape.arrays). Raises ValueError for others than `shape` has.
    """

    shape: Shape
    arrays: Mapping[str, Floats]

    def __post_init__(self) -> None:
        found = {name: array.shape for name, array in self.arrays.items()}
        if found != self.shape.arrays:
            raise ValueError(f"the network's arrays are {found}, not {self.shape.arrays}")

    @classmethod
    def blank(cls, shape: Shape) -> SufficiencyNetwork:
        """Every logit is 0."""
        ones = ("spread", "slope")
        return cls(
            shape,
            {name: np.full(size, float(name in ones), np.float32) for name, size in shape.arrays.items()},
        )

    def having(self, arrays: Mapping[str, NDArray[np.floating] | float]) -> SufficiencyNetwork:
        """Return the network with these arrays instead."""
        given = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return SufficiencyNetwork(self.shape, {**self.arrays, **given})

    def columns(self, batch: ScorerInputsBatch) -> Floats:
        """Return the inputs concatenated, float32[n, width], not standardised."""
        return np.concatenate(
            [INPUTS[name].columns(self, batch) for name in self.shape.inputs], axis=1, dtype=np.float32
        )

    def standardised(self, columns: Floats) -> Floats:
        return (columns - self.arrays["mean"]) / self.arrays["spread"]

    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        """Uncalibrated logits float64[n]."""
        values = self.standardised(self.columns(batch))
        *hidden, last = self.shape.layers
        for layer in hidden:
            values = np.maximum(self._apply(layer, values), 0)
        return self._apply(last, values)[:, 0].astype(np.float64)

    def probabilities(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        """Calibrated probabilities float64[n]."""
        slope, offset = float(self.arrays["slope"]), float(self.arrays["offset"])
        return 1 / (1 + np.exp(-(slope * self.logits(batch) + offset)))

    def _apply(self, layer: str, values: Floats) -> Floats:
        return values @ self.arrays[f"{layer}.weight"].T + self.arrays[f"{layer}.bias"]


@dataclass(frozen=True, slots=True)
class InputKind:
    """One input of a network: its columns float32[n, width] of a batch. `needs_pass`: it comes from a scoring pass of
    the small model. The first `num_raw` columns keep their scale.
    """

    width: Callable[[Shape], int]
    columns: Callable[[SufficiencyNetwork, ScorerInputsBatch], Floats]
    needs_pass: bool = True
    num_raw: int = 0


INPUTS: Mapping[Input, InputKind] = {
    "features": InputKind(lambda shape: len(NAMES), lambda network, batch: log_compress(batch.features)),
    "stage": InputKind(
        lambda shape: shape.stages,
        lambda network, batch: np.eye(network.shape.stages, dtype=np.float32)[batch.stage],
        needs_pass=False,
    ),
    "tokens": InputKind(lambda shape: 1, lambda network, batch: np.log(batch.tokens)[:, None]),
    "states": InputKind(
        lambda shape: shape.components, lambda network, batch: batch.states @ network.arrays["projection"]
    ),
    "words": InputKind(lambda shape: WIDTH, lambda network, batch: batch.words, needs_pass=False, num_raw=BUCKETS),
}

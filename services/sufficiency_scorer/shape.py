"""The layout of a sufficiency network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.sufficiency_scorer.bag_of_words import BUCKETS, WIDTH
from services.sufficiency_scorer.features import NAMES

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
    def layers(self) -> list[str]:
        """Names of the linear layers. In training two others follow each hidden one (training.estimators)."""
        return [f"layers.{3 * number}" for number in range(len(self.hidden) + 1)]

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of a network, by name."""
        sizes: dict[str, tuple[int, ...]] = {
            "mean": (self.width,), "spread": (self.width,), "projection": (self.states, self.components), "slope": (), "offset": (),
        }  # fmt: skip
        widths = (self.width, *self.hidden, 1)
        for layer, read, written in zip(self.layers, widths[:-1], widths[1:], strict=True):
            sizes |= {f"{layer}.weight": (written, read), f"{layer}.bias": (written,)}
        return sizes

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

"""The layout of a sufficiency network. Without torch: it takes seconds to import, and a description of a scorer needs none."""

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

"""How tokens are drawn, in both models."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 is greedy; then `top_p` (nucleus, in (0, 1]) and `seed` have no effect."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

"""What tokens cost. One definition: the workflow's bill and the cost on every inference span come from here. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_MILLION = 1e6


@dataclass(frozen=True)
class RolePrices:
    """USD per million tokens."""

    input: float = 0.0
    cached_input: float = 0.0
    output: float = 0.0

    def usd(self, read: int, cached: int, made: int) -> float:
        """USD for tokens that were read and computed, read out of a cache, and made; what became of them is no matter."""
        return (read * self.input + cached * self.cached_input + made * self.output) / _MILLION

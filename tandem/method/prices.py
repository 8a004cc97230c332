"""What tokens cost. The workflow's bill and the cost on every inference span use this one definition."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.method.tokens import TokenCounts

_MILLION = 1e6


@dataclass(frozen=True)
class RolePrices:
    """USD per million tokens."""

    input: float = 0.0
    cached_input: float = 0.0
    output: float = 0.0

    def usd(self, counts: TokenCounts) -> float:
        """USD. Every generated token is paid, whether it was kept, overrun or discarded."""
        prompt = counts.prompt * self.input + counts.cached * self.cached_input
        return (prompt + counts.generated * self.output) / _MILLION

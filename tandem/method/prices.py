"""What tokens cost. One definition: the workflow's bill and the cost on every inference span come from here."""

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
        """USD for tokens that were prefilled, cached and generated; every generated token is paid, whatever its state."""
        return (
            counts.prompt * self.input + counts.cached * self.cached_input + counts.generated * self.output
        ) / _MILLION


@dataclass(frozen=True)
class Prices:
    """`version` names the price list on every bill."""

    version: str
    llm: RolePrices
    slm: RolePrices
    scorer: RolePrices


@dataclass(frozen=True)
class RoleRates:
    """Tokens a second that a role's device reads, reads out of its cache, and writes (measured by `tandem bench rates`)."""

    input: float
    cached_input: float
    output: float

    def seconds(self, prompt: float, cached: float, generated: float) -> float:
        """Device time of so many tokens that are prefilled, read from a cache, and generated."""
        return prompt / self.input + cached / self.cached_input + generated / self.output


@dataclass(frozen=True)
class Rates:
    """`version` names the measurement, and with it the device."""

    version: str
    llm: RoleRates
    slm: RoleRates
    scorer: RoleRates
